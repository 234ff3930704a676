"""A forward proxy that does what it should, or something else: each connection
to it does as it is told.  HTTP CONNECT and SOCKS5, on one port.

All of it belongs to one asyncio loop.
"""

import asyncio
import collections
import random

from .keyed import reset

GOOD = {"http": b"HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n",
        "socks5": b"\5\0\0\1\0\0\0\0\0\0"}

# what HTTP says to CONNECT, and its like of SOCKS5
BAD = {
    "407": (b"HTTP/1.1 407 Who\r\nContent-Length: 3\r\n\r\nwho",
            b"\5\2\0\1\0\0\0\0\0\0"),
    "502": (b"HTTP/1.1 502 Gone\r\n\r\n<html>", b"\5\4\0\1\0\0\0\0\0\0"),
    "403": (b"HTTP/1.0 403\n\n", b"\5\1\0\1\0\0\0\0\0\0"),
    "oversized": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, b"\5\0\0\xee"),
    "interim": (b"HTTP/1.1 100 Go on\r\n\r\n" * 900, b"\5\0\0\3"),
    "half": (b"HTTP/1.1 200 Connection est", b"\5\0\0\1\0\0"),
    "other": (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"),
}

# before it has read anything, or instead of an answer
EARLY = "close", "reset", "hole"
LATE = "drop", "abort", "mute", "garbage"

# the tunnel is there; and then
TUNNEL = "good", "slow", "bytes", "glued", "cut", "torn", "stall"


class Hostile:
    """do() tells what a connection does: one of the words above.  did counts
    them.  What is asked of it is looked for on 127.0.0.1, whoever it is."""

    def __init__(self, do):
        self.do = do
        self.did = collections.Counter()
        self._tasks = set()

    async def listen(self, port):
        self._server = await asyncio.start_server(
            self._came, "127.0.0.1", port, backlog=4096)

    async def close(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _came(self, reader, writer):
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader, writer):
        does = self.do()
        self.did[does] += 1

        try:
            await self._connection(reader, writer, does)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _connection(self, reader, writer, does):
        if does in EARLY:
            if does == "reset":
                reset(writer)
            elif does == "hole":
                await reader.read(-1)
            return

        kind, port = await self._asked(reader, writer, does)

        if does in LATE:
            if does == "abort":
                reset(writer)
            elif does == "mute":
                await reader.read(-1)
            elif does == "garbage":
                writer.write(random.randbytes(random.randrange(1, 3000)))
                await reader.read(-1)
            return

        if does in BAD:
            writer.write(BAD[does][kind == "socks5"])
            await writer.drain()
            if random.random() < 0.5:
                await reader.read(-1)
            return

        back, there = await asyncio.open_connection("127.0.0.1", port)

        try:
            await self._agree(writer, kind, does)
            await self._tunnel(reader, writer, back, there, does)
        finally:
            there.close()

    async def _asked(self, reader, writer, does):
        """Reads up to where it is asked to go: "http" or "socks5", and a
        port."""
        first = await reader.readexactly(1)

        if first != b"\5":
            head = await reader.readuntil(b"\r\n\r\n")
            return "http", int(head.split()[1].rpartition(b":")[2])

        await reader.readexactly((await reader.readexactly(1))[0])

        if does == "slow":
            await asyncio.sleep(random.random() * 0.02)

        writer.write(b"\5\0")
        kind = (await reader.readexactly(4))[3]
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        await reader.readexactly(size)

        return "socks5", int.from_bytes(await reader.readexactly(2), "big")

    async def _agree(self, writer, kind, does):
        answer = GOOD[kind]

        if does == "slow":
            await asyncio.sleep(random.random() * 0.05)

        if does == "bytes":
            for i in range(len(answer)):
                writer.write(answer[i:i + 1])
                await writer.drain()
                await asyncio.sleep(0 if i % 8 else 0.001)
            return

        if does == "glued":
            answer += random.choice((b"HTTP/1.1 200 OK\r\n", b"\x16\3\3\0\7x",
                                     b"y" * 5000))

        writer.write(answer)
        await writer.drain()

    async def _tunnel(self, reader, writer, back, there, does):
        # bytes of the origin's, and then what was said
        left = {"cut": random.choice((0, 1, 90, 4000)),
                "torn": random.choice((0, 1, 700, 4000)),
                "stall": random.choice((0, 80, 4000))}.get(does)

        up = asyncio.ensure_future(_pump(reader, there))

        try:
            while data := await back.read(16384):
                if left is not None and len(data) > left:
                    writer.write(data[:left])
                    if does == "torn":
                        reset(writer)
                    elif does == "stall":
                        await asyncio.sleep(1)
                    return

                left = left and left - len(data)
                writer.write(data)
                await writer.drain()
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)


async def _pump(source, target):
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()
