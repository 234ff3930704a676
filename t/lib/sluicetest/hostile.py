"""A forward proxy of which each connection may do something else: well, or one
of the faults that proxies have.  It speaks HTTP or SOCKS5, whichever it is
asked in, and belongs to an asyncio loop.
"""

import asyncio
import collections
import ipaddress
import os
import random
import struct

from .keyed import reset

# before it was asked
REFUSE_EARLY = "close early"
RESET_EARLY = "reset early"
HOLE = "black hole"
GARBAGE = "garbage"

# after it was asked
DROP = "drop"
RESET = "reset"
MUTE = "mute"
CUT = "cut"                     # within the answer
NOISE = "noise"                 # random bytes
LONG = "long"                   # a head without an end
DENY = "deny"                   # 407, SOCKS5: not allowed
NO_ORIGIN = "no origin"         # 502, SOCKS5: connection refused

# well
WELL = "well"
SLOW = "slow"
BYTES = "bytes"                 # one at a time
VERBOSE = "verbose"             # interim answers and headers, a name

# the tunnel is there, and then
GLUED = "glued"                 # what is no origin's stands behind the answer
SHORT = "short"                 # it ends after some bytes of the origin's
TORN = "torn"                   # the same, by RST
STALL = "stall"                 # some bytes, and no more

FAULTS = (REFUSE_EARLY, RESET_EARLY, HOLE, GARBAGE, DROP, RESET, MUTE, CUT,
          NOISE, LONG, DENY, NO_ORIGIN)
GOOD = WELL, SLOW, BYTES, VERBOSE
BROKEN = GLUED, SHORT, TORN, STALL


class Hostile:
    """`does` is called for each connection, and returns one of the above.

    did[NAME] is how often; `asked` has the (host, port) that it was asked for
    and `early` counts who sent more than he was asked for; `open` is how many
    connections it has.
    """

    def __init__(self, does=lambda: WELL):
        self.does = does
        self.did = collections.Counter()
        self.asked = collections.Counter()
        self.early = 0
        self.open = 0

    async def listen(self, port, address="127.0.0.1"):
        self._server = await asyncio.start_server(self._serve, address, port,
                                                  backlog=4096)

    def close(self):
        self._server.close()

    async def _serve(self, reader, writer):
        does = self.does()
        self.did[does] += 1
        self.open += 1

        try:
            await self._do(does, reader, writer)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError,
                asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _do(self, does, reader, writer):
        if does == REFUSE_EARLY:
            return

        if does == RESET_EARLY:
            return reset(writer)

        if does == GARBAGE:
            writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")

        if does in (HOLE, GARBAGE):
            await reader.read()
            return

        host, port, answers = await self._ask(reader, writer)
        self.asked[host, port] += 1

        # of a stream that was not asked for nothing may be there yet
        if reader._buffer:
            self.early += 1

        if does == DROP:
            return

        if does == RESET:
            return reset(writer)

        if does == MUTE:
            await reader.read()
            return

        answer = answers[does if does in answers else WELL]

        if does == CUT:
            writer.write(answer[:len(answer) // 2])
            await writer.drain()
            return

        if does in FAULTS:
            writer.write(answer)
            await writer.drain()
            return

        back, there = await asyncio.open_connection(host, port)

        if does == SLOW:
            await asyncio.sleep(0.05)

        if does == GLUED:
            answer += random.choice((b"HTTP/1.1 200 OK\r\n", b"y" * 5000,
                                     b"\x16\3\3\0\7x"))

        for part in [answer] if does != BYTES \
                else [bytes([byte]) for byte in answer]:
            writer.write(part)
            await writer.drain()
            if does == BYTES:
                await asyncio.sleep(0.001)

        await asyncio.gather(_pump(reader, there),
                             _break(does, back, writer)
                             if does in (SHORT, TORN, STALL)
                             else _pump(back, writer))

    async def _ask(self, reader, writer):
        """What it is asked for, and how that is answered."""
        first = await reader.readexactly(1)

        if first == b"\5":
            return await self._ask_socks(reader, writer)

        head = first + await reader.readuntil(b"\r\n\r\n")
        method, to, version = head.split(b"\r\n")[0].decode().split(" ")
        host, _, port = to.rpartition(":")

        if method != "CONNECT" or version != "HTTP/1.1" \
                or b"\r\nHost: %s\r\n" % to.encode() not in head:
            raise ValueError(head)

        return host.strip("[]"), int(port), {
            WELL: b"HTTP/1.1 200 Connection established\r\n\r\n",
            VERBOSE: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\r\n"
                     b"Content-Length: 3\r\nVia: 1.1 " + b"x" * 3000
                     + b"\r\n\r\n",
            NOISE: os.urandom(500), LONG: b"HTTP/1.1 200 OK\r\n"
                                          + b"X: y\r\n" * 20000,
            DENY: b"HTTP/1.1 407 Who\r\nContent-Length: 3\r\n\r\nno\n",
            NO_ORIGIN: b"HTTP/1.1 502 Bad Gateway\r\n\r\nno",
        }

    async def _ask_socks(self, reader, writer):
        count, = await reader.readexactly(1)
        if 0 not in await reader.readexactly(count):
            raise ValueError("no method")
        writer.write(b"\5\0")

        version, command, _, kind = await reader.readexactly(4)
        if (version, command) != (5, 1):
            raise ValueError("no CONNECT")

        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        data = await reader.readexactly(size)
        host = data.decode() if kind == 3 else str(ipaddress.ip_address(data))
        port, = struct.unpack("!H", await reader.readexactly(2))

        return host, port, {
            WELL: b"\5\0\0\1\0\0\0\0\0\0",
            VERBOSE: b"\5\0\0\3\xff" + b"x" * 255 + b"\1\xbb",
            NOISE: b"\4" + os.urandom(500), LONG: b"\5\0\0\7" + b"x" * 70000,
            DENY: b"\5\2\0\1\0\0\0\0\0\0",
            NO_ORIGIN: b"\5\5\0\1\0\0\0\0\0\0",
        }


async def _break(does, reader, writer):
    left = random.choice((0, 1, 90, 700, 4000))

    try:
        while left and (data := await reader.read(left)):
            writer.write(data)
            await writer.drain()
            left -= len(data)

        if does == TORN:
            reset(writer)
        elif does == STALL:
            await asyncio.sleep(1)
    finally:
        writer.close()


async def _pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
