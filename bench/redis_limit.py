"""A decision of ours against the usual sliding window in Redis.

Redis is asked over a unix socket, by a client in C that does nothing else: the
two windows of bench/redis_loop.c, one request at a time, as a gateway must
know the answer before it passes a request on.  The same decisions with 64 on
the way at a time are told as well; then the two socket calls are shared.
"""

import os
import shutil
import socket
import subprocess
import tempfile

from sluicetest.process import Process


def _accepts(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False

    return True


def measure(build, keys, n):
    """Returns ns a decision: {name: figure}, or None without a Redis."""
    binary = shutil.which("redis-server")

    if binary is None:
        print("redis-server is not installed: limit.vs_redis is not measured\n")
        return None

    dir = tempfile.mkdtemp(prefix="sluice-bench.")
    path = os.path.join(dir, "redis.sock")

    try:
        with Process([binary, "--port", "0", "--unixsocket", path, "--save",
                      "", "--appendonly", "no", "--dir", dir],
                     os.path.join(dir, "redis.log")) as redis:
            redis.wait_ready(lambda: _accepts(path))
            out = subprocess.run([os.path.join(build, "redis_loop"), path,
                                  str(redis.pid), str(keys), str(n)],
                                 check=True, capture_output=True,
                                 text=True).stdout
    finally:
        shutil.rmtree(dir, ignore_errors=True)

    return {name: float(value)
            for name, value in (line.split() for line in out.splitlines())}
