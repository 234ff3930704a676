"""A decision of ours against one of nginx's own limit_req, at a million keys.

One worker of one nginx serves the same tiny answer at three locations: without
a limit, with limit_req, with sluice_limit; both by the same header, both with
all the keys in their zones.  What a limit costs is the difference to the
location without one: the whole of it, from the header to the verdict, with
the context and the cleanup that our module needs for a request.

Time is the worker's own on the CPU; the locations are asked in turn, in short
slices, and the differences are taken round by round and told as medians.
Instructions are counted by callgrind in another run, which is not watched
while the keys are put in.

limit_req reads its tree under a lock, from the root: some twenty nodes, most of
them cache misses when there are a million keys.  So the two differ much more in
time than in instructions.
"""

import os
import re
import shutil
import statistics
import subprocess
import tempfile

from gateway import PINNED, cpu, modules, pin
from sluicetest.nginx import Nginx
from sluicetest.process import Process

CONF = """
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    keepalive_requests 100000000;
    sluice_dir %(files)s;
    sluice_limit_zone $http_x_key zone=ours:%(ours)dk window=1h;
    limit_req_zone $http_x_key zone=theirs:%(theirs)dk rate=1000r/s;
    server {
        listen unix:%(socket)s;
        location = /none { empty_gif; }
        location = /theirs {
            limit_req zone=theirs burst=1000000 nodelay;
            empty_gif;
        }
        location = /ours {
            sluice_limit zone=ours limit=8000000;
            empty_gif;
        }
        location = /both {
            limit_req zone=theirs burst=1000000 nodelay;
            sluice_limit zone=ours limit=8000000;
            empty_gif;
        }
    }
}
"""

LOCATIONS = "none", "theirs", "ours"


def _conf(dir, files, keys):
    # ours is two thirds full; a node of theirs takes 128 bytes of a page
    return CONF % {"files": files, "socket": _socket(dir), "ours": keys * 24 // 1024 + 64,
                   "theirs": keys * 132 // 1024 + 1024}


def _socket(dir):
    return os.path.join(dir, "nginx.sock")


def _ask(build, dir, location, keys, n, seed):
    subprocess.run(PINNED + [os.path.join(build, "ask"), _socket(dir),
                             "/" + location, str(keys), str(n), str(seed)],
                   check=True, timeout=300)


def _place():
    dir = tempfile.mkdtemp(prefix="sluice-bench.")
    os.chmod(dir, 0o755)

    return dir, "/dev/shm/" + os.path.basename(dir)


def _without(row, name):
    return row["none"] if name != "none" else 0


def times(build, keys, rounds, n):
    """ns that each limit adds to a request: {location: median}."""
    dir, files = _place()
    costs = {name: [] for name in LOCATIONS}

    try:
        with Nginx(dir, _conf(dir, files, keys),
                   modules=modules(build), log_level="error",
                   user="www-data" if os.getuid() == 0 else None) as nginx:
            worker = nginx.workers()[0]
            pin(worker, 0)
            _ask(build, dir, "both", keys, keys, 0)

            # the first round only warms up
            for i in range(rounds + 1):
                row = {}
                for name in LOCATIONS:
                    before = cpu(worker)
                    _ask(build, dir, name, keys, n, i + 1)
                    row[name] = (cpu(worker) - before) / n * 1e9
                for name in LOCATIONS if i else ():
                    costs[name].append(row[name] - _without(row, name))
    finally:
        shutil.rmtree(dir, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)

    return {name: statistics.median(cost) for name, cost in costs.items()}


def instructions(build, keys, n):
    """Instructions that each limit adds to a request: {location: number}."""
    dir, files = _place()
    counts = {}

    try:
        nginx = Nginx(dir, "daemon off; master_process off;"
                      + _conf(dir, files, keys), modules=modules(build),
                      log_level="error")
        out = os.path.join(dir, "callgrind.out")

        with Process(["valgrind", "--tool=callgrind", "--instr-atstart=no",
                      "--callgrind-out-file=" + out, nginx.binary,
                      "-p", nginx.dir, "-c", nginx.conf],
                     os.path.join(dir, "valgrind.log")) as process:
            process.wait_ready(lambda: os.path.exists(_socket(dir)), 60)
            _ask(build, dir, "both", keys, keys, 0)
            _control(process.pid, "--instr=on")

            for name in LOCATIONS:
                _ask(build, dir, name, keys, 320, 1)
                _control(process.pid, "--zero")
                _ask(build, dir, name, keys, n, 2)
                _control(process.pid, "--dump=" + name)

            _control(process.pid, "--instr=off")
            process.stop(timeout=60)

        for path in sorted(os.listdir(dir)):
            if path.startswith("callgrind.out."):
                with open(os.path.join(dir, path)) as file:
                    text = file.read()
                name = re.search(r"(?m)^desc: Trigger: .*?(\w+)$", text)
                total = re.search(r"(?m)^(?:summary|totals): (\d+)", text)
                if name and name[1] in LOCATIONS:
                    counts[name[1]] = int(total[1]) / n
    finally:
        shutil.rmtree(dir, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)

    return {name: count - _without(counts, name)
            for name, count in counts.items()}


def _control(pid, option):
    subprocess.run(["callgrind_control", option, str(pid)], check=True,
                   capture_output=True)
