"""No more than the limit are in flight at a time, over all workers, and the
places of a killed worker are free again within a second."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import ports, tap                   # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

LIMIT = 12
CONF = """
worker_processes 4;
events { worker_connections 256; }
http {
    access_log off;
    sluice_dir %(files)s;
    sluice_limit_conn_zone $http_x_key zone=par:%(size)s;
    server {
        listen 127.0.0.1:%(port)d reuseport;
        location / {
            sluice_limit_conn zone=par limit=%(limit)d;
            proxy_read_timeout 60s;
            proxy_pass http://127.0.0.1:%(api)d;
        }
    }
}
"""


class Api:
    """Answers after a while, or when told; knows how many it has at a time."""

    def __init__(self):
        self.now = self.most = self.seen = 0
        self.open = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.now += 1
            self.seen += 1
            self.most = max(self.most, self.now)
            try:
                if b"/hold" in head:
                    await self.open.wait()
                else:
                    await asyncio.sleep(0.002)
            finally:
                self.now -= 1
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def ask(port, path, key="k"):
    """The status, or 0 if there was none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET %s HTTP/1.0\r\nX-Key: %s\r\n\r\n"
                     % (path.encode(), key.encode()))
        try:
            line = await reader.readline()
        finally:
            writer.close()
        return int(line.split()[1]) if line else 0
    except (ConnectionError, IndexError):
        return 0


async def client(port, path, times, statuses):
    for _ in range(times):
        statuses.append(await ask(port, path))


async def held(port, n):
    """n requests that stay until the API is told, or are cut off."""
    tasks = [asyncio.ensure_future(ask(port, "/hold")) for _ in range(n)]
    await asyncio.sleep(0.5)
    return tasks


async def main(nginx, port, api, api_port):
    server = await asyncio.start_server(api.serve, "127.0.0.1", api_port)

    statuses = []
    await asyncio.gather(*(client(port, "/", 100, statuses)
                           for _ in range(40)))
    passed = statuses.count(200)
    tap.is_(len(statuses), 4000, "4,000 requests of 40 clients at a time")
    tap.is_(set(statuses), {200, 429}, "answered or refused")
    tap.ok(api.most <= LIMIT, "never more than %d at a time: %d"
           % (LIMIT, api.most))
    tap.ok(passed > 400 and api.most >= LIMIT - 2,
           "and the places are used: %d passed" % passed)
    tap.is_(api.seen, passed, "who was refused has not been at the API")

    # another client has places of its own

    tasks = await held(port, LIMIT)
    tap.is_(await ask(port, "/", "k"), 429, "all places are taken")
    tap.is_(await ask(port, "/", "other"), 200, "others have their own")

    # a killed worker gives back; whose clients it had sees nothing of it

    workers = nginx.workers()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    lost = await asyncio.wait_for(asyncio.gather(*tasks), 10)
    tap.is_(set(lost), {0}, "all of them died with their workers")

    status = 0
    while status != 200 and time.monotonic() - killed < 5:
        await asyncio.sleep(0.02)
        status = await ask(port, "/")
    took = time.monotonic() - killed
    tap.is_(status, 200, "there are places again")
    tap.ok(took < 1.5, "a second after the kill: %.2f s" % took)

    # and all of them: the limit is whole, not more

    await asyncio.sleep(1)
    tasks = await held(port, LIMIT + 5)
    done = [task.result() for task in tasks if task.done()]
    tap.is_(done, [429] * 5, "as many as before, and not one more")

    # a client that leaves gives its place back

    for task in tasks:
        task.cancel()
    await asyncio.sleep(0.5)
    tap.is_(await ask(port, "/"), 200, "clients that left have no places")

    # a reload with another size: those in flight count on

    tasks = await held(port, LIMIT)
    nginx.configure(CONF % {**VALUES, "size": "128k"})
    nginx.reload()
    await asyncio.sleep(1)
    tap.is_(await ask(port, "/"), 429, "over a reload with another size")
    api.open.set()
    tap.is_(await asyncio.gather(*tasks), [200] * LIMIT, "all are answered")
    await asyncio.sleep(0.5)
    tap.is_(await ask(port, "/"), 200, "and then there is room")

    server.close()


dir = tempfile.mkdtemp(prefix="sluice-in-flight.")
os.chmod(dir, 0o755)
VALUES = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          "port": ports.free_port(), "api": ports.free_port(),
          "limit": LIMIT, "size": "64k"}
nginx = Nginx(os.path.join(dir, "nginx"), CONF % VALUES, ready=VALUES["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice")

try:
    with nginx:
        asyncio.run(main(nginx, VALUES["port"], Api(), VALUES["api"]))
finally:
    shutil.rmtree(VALUES["files"], ignore_errors=True)
    shutil.rmtree(dir, ignore_errors=True)

tap.done()
