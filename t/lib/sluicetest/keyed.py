"""An upstream that answers by key, as a script says, and remembers what it
was asked; a client that knows what it has sent; names for both.

All of it belongs to one asyncio loop.
"""

import asyncio
import collections
import hashlib
import struct

# what is instead of an answer
RESET = "reset"             # the connection, before the first byte
CUT = "cut"                 # the same, within the header
SILENT = "silent"           # nothing comes, until the other side gives up
STALE = "stale"             # the connection had been closed while it was kept

# of what nginx sends: differs from try to try, as it should
OWN = {"authorization", "x-key-id"}

# what nginx notes of a try that got no answer
NOTED = {RESET: 502, CUT: 502, STALE: 502, SILENT: 504}


Try = collections.namedtuple("Try", "key id status method uri headers size"
                                    " digest connection server")

Answer = collections.namedtuple("Answer", "status headers body")


class Say:
    """One answer: `early` comes before the request's body has been read."""

    def __init__(self, status, *headers, body=b'{"ok":1}\n', chunked=False,
                 close=False, early=False, after=0):
        self.status = status
        self.early = early
        self.close = close
        self.after = after

        head = ["HTTP/1.1 %d Said" % status, *headers]
        if chunked:
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            head.append("Content-Length: %d" % len(body))
        if close:
            head.append("Connection: close")

        self.bytes = ("\r\n".join(head) + "\r\n\r\n").encode() + body


class Junk(Say):
    """Bytes that are no answer, which nginx takes for one of HTTP/0.9."""

    def __init__(self, bytes):
        super().__init__(200, close=True)
        self.bytes = bytes


class Upstream:
    """Answers to "Authorization: Bearer KEY" with script[KEY]: a list, of
    which the last one stays.  tries[n] is what came of the client's request
    with "X-N: n".

    What comes with a path of /hold... waits until `open` is set.  held[key] is
    what has come and has not been answered, most[key] the most that was.
    """

    def __init__(self, script):
        self.script = {key: list(answers) for key, answers in script.items()}
        self.tries = collections.defaultdict(list)
        self.used = collections.Counter()
        self.connections = 0
        self.held = collections.Counter()
        self.most = collections.Counter()
        self.open = asyncio.Event()
        self._servers = []

    async def listen(self, port, address="127.0.0.1", ssl=None):
        async def serve(reader, writer):
            await self._serve(reader, writer, (address, port))

        self._servers.append(await asyncio.start_server(
            serve, address, port, ssl=ssl, limit=1 << 20, backlog=4096))

    def close(self):
        for server in self._servers:
            server.close()

    async def _serve(self, reader, writer, server):
        self.connections += 1
        number = self.connections

        first = True

        try:
            while await self._request(reader, writer, number, server, first):
                first = False
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(self, reader, writer, connection, server, first):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode().rstrip().split("\r\n")
        method, uri, _ = line.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in headers.items()}

        key = headers["authorization"].partition(" ")[2]
        answers = self.script[key]
        say = answers.pop(0) if len(answers) > 1 else answers[0]

        if callable(say):
            say = say()

        if say == STALE and first:
            answers.insert(0, say)      # another time
            say = Say(200)

        self.used[key] += 1
        self.held[key] += 1
        self.most[key] = max(self.most[key], self.held[key])

        try:
            return await self._answer(reader, writer, say, Try(
                key, headers.get("x-key-id"),
                NOTED.get(say) or say.status, method, uri,
                {name: value for name, value in headers.items()
                 if name not in OWN}, None, None, connection, server))
        finally:
            self.held[key] -= 1

    async def _answer(self, reader, writer, say, seen):
        n = int(seen.headers.get("x-n", 0))
        early = say not in NOTED and say.early

        if early:
            self.tries[n].append(seen)
            writer.write(say.bytes)
            await writer.drain()

        size, digest = await body_of(reader, seen.headers)

        if not early:
            self.tries[n].append(seen._replace(size=size, digest=digest))

        if seen.uri.startswith("/hold"):
            await self.open.wait()

        if say in (RESET, CUT):
            if say == CUT:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                await asyncio.sleep(0.02)
            reset(writer)
            return False

        if say == SILENT:
            await reader.read()
            return False

        if say == STALE:
            return False

        if not early:
            if say.after:
                await asyncio.sleep(say.after)
            writer.write(say.bytes)
            await writer.drain()

        return not say.close


async def body_of(reader, headers):
    """Its length and its digest."""
    digest, size = hashlib.sha256(), 0

    async for piece in _pieces(reader, headers):
        digest.update(piece)
        size += len(piece)

    return size, digest.hexdigest()


async def _pieces(reader, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        while length := int(await reader.readline(), 16):
            yield await reader.readexactly(length)
            await reader.readline()
        await reader.readline()
        return

    left = int(headers.get("content-length", 0))

    while left:
        piece = await reader.read(min(left, 1 << 16))
        if not piece:
            raise EOFError
        left -= len(piece)
        yield piece


def reset(writer):
    """Ends a connection with RST."""
    SO_LINGER, SOL_SOCKET = 13, 1
    socket = writer.get_extra_info("socket")

    # one of TLS that the other side has ended has none
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    writer.transport.abort()


async def ask(port, path="/", n=0, method="GET", body=None, chunked=False,
              expect=False, leave=None, headers=()):
    """One request; status 0: no answer, or not a whole one.

    With `leave`, so many seconds after the last byte the client has gone.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port,
                                                       limit=1 << 20)
    except OSError:
        return Answer(0, {}, b"")

    try:
        await _send(reader, writer, path, n, method, body, chunked, expect,
                    headers)

        if leave is not None:
            await asyncio.sleep(leave)
            return Answer(0, {}, b"")

        return await _receive(reader)

    except (OSError, EOFError, ValueError, IndexError):
        return Answer(0, {}, b"")

    finally:
        writer.close()


async def _send(reader, writer, path, n, method, body, chunked, expect,
                headers):
    head = ["%s %s HTTP/1.1" % (method, path), "Host: gateway", "X-N: %d" % n,
            "Connection: close", *headers]

    if chunked:
        head.append("Transfer-Encoding: chunked")
    elif body is not None:
        head.append("Content-Length: %d" % len(body))
    if expect:
        head.append("Expect: 100-continue")

    writer.write(("\r\n".join(head) + "\r\n\r\n").encode())

    if expect:
        line = await reader.readuntil(b"\r\n\r\n")
        if b" 100 " not in line:
            raise ValueError(line)

    # in pieces of no round size, so that they end anywhere in a buffer

    for i in range(0, len(body or b""), 70001):
        piece = body[i:i + 70001]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked
                     else piece)
        await writer.drain()

    if chunked:
        writer.write(b"0\r\n\r\n")

    await writer.drain()


async def _receive(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in headers.items()}
    body = b""

    async for piece in _pieces(reader, headers):
        body += piece

    return Answer(int(line.split()[1]), headers, body)


async def ask_and_reset(port, path, n, leave):
    """A request of HTTP/2, and its stream is reset `leave` seconds later."""
    def frame(type, flags, stream, payload):
        return struct.pack("!I", len(payload))[1:] \
            + struct.pack("!BBI", type, flags, stream) + payload

    def text(string):
        return bytes([len(string)]) + string.encode()

    # HPACK: GET, http, and what its static table has no value for
    headers = b"\x82\x86\x04" + text(path) + b"\x01" + text("gateway") \
        + b"\x00" + text("x-n") + text(str(n))

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
                 + frame(1, 5, 1, headers))
    await asyncio.sleep(leave)
    writer.write(frame(3, 0, 1, struct.pack("!I", 8)))
    await asyncio.sleep(0.2)
    writer.close()


class Names(asyncio.DatagramProtocol):
    """A name server: every name has these addresses of IPv4."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.asked = 0

    async def listen(self, port):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", port))

    def datagram_received(self, data, peer):
        self.asked += 1
        end = data.index(b"\0", 12) + 5             # of the one question
        wanted, = struct.unpack("!H", data[end - 4:end - 2])
        addresses = self.addresses if wanted == 1 else []

        self.transport.sendto(
            data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
            + data[12:end]
            + b"".join(struct.pack("!HHHIH", 0xc00c, 1, 1, 60, 4)
                       + bytes(map(int, address.split(".")))
                       for address in addresses), peer)
