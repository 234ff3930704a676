"""What Sluice costs a request: nginx bare, with Sluice, with what it replaces.

Load generator, upstream and gateway share the machine, so throughput flatters
the slow one; the figure that counts is the CPU time of the gateway's own
processes for a request.  The gateway (its worker, and sluiced) has one core
and keeps it busy, the load and the upstream have another: left to the
scheduler they wander, and a round differs from the next by more than what is
to be measured.  Flavours are measured in turn, round by round.  What others do
on the machine makes a round worse, never better: the better quartile counts.
"""

import os
import re
import signal
import statistics
import subprocess
import tempfile
import shutil
import time

from sluicetest import ports
from sluicetest.nginx import Nginx
from sluicetest.process import Process

# before a command: on the core that the gateway has not
PINNED = ["taskset", "-c", "1"] if os.cpu_count() > 1 else []

UPSTREAM = """
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:%(upstream)d;
        location / { return 200 '%(body)s'; }
    }
}
"""

GATEWAY = """
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    %(http)s
    upstream api {
        server 127.0.0.1:%(upstream)d;
        keepalive 64;
        keepalive_requests 100000000;
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            %(location)s
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://api;
        }
    }
}
"""

# as long as those of an API are
KEYS = ["sk-proj-%d" % i + "0123456789abcdef" * 3 for i in range(8)]

BARE = ("", 'proxy_set_header Authorization "Bearer %s";' % KEYS[0])

FULL = ("""
    sluice_dir %(files)s;
    sluice_ring 8m;
    sluice_limit_zone $sluice_client zone=rpm:16m window=1m;
    sluice_key_pool api {
""" + "key %s id=a; key %s id=b; }" % tuple(KEYS[:2]) + """
""", """
            sluice_client $http_authorization;
            sluice_limit zone=rpm limit=8000000;
            sluice_key api;
            sluice_usage on;
            sluice_usage_field team $http_x_team;
            proxy_set_header Authorization "Bearer $sluice_key";
""")

# a key for each request, and nothing else; and what it is compared with

FIXED = ("sluice_dir %(files)s;", BARE[1])

POOL = ("""
    sluice_dir %(files)s;
    sluice_key_pool api {
""" + "".join("        key %s id=%s;\n" % (key, key[8]) for key in KEYS) + """
    }
""", """
            sluice_key api;
            proxy_set_header Authorization "Bearer $sluice_key";
""")

# what an operator has today: a limit, and a log to bill from
LOG = ("""
    limit_req_zone $http_authorization zone=rps:16m rate=1000000r/s;
    log_format usage escape=json '{"time":"$time_iso8601","msec":"$msec",'
        '"node":"$hostname","id":"$request_id","client":"$remote_user",'
        '"team":"$http_x_team","method":"$request_method","host":"$host",'
        '"uri":"$uri","status":"$status","in":"$request_length",'
        '"out":"$bytes_sent","took":"$request_time",'
        '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_took":"$upstream_response_time"}';
    access_log %(dir)s/usage.log usage buffer=64k flush=1s;
""", """
            limit_req zone=rps burst=1000000 nodelay;
""" + BARE[1])

#            configuration, module, sluiced
FLAVOURS = {
    "bare":   (BARE, False, False),
    "unused": (BARE, True, False),
    "full":   (FULL, True, True),
    "log":    (LOG, False, False),
    "fixed":  (FIXED, True, False),
    "pool":   (POOL, True, False),
}

SCRIPT = """
wrk.headers["Authorization"] = "Bearer client"
wrk.headers["X-Team"] = "red"
"""


def pin(pid, core):
    """Keeps all threads of a process on a core, where there are two."""
    if os.cpu_count() < 2:
        return

    for task in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(task), {core})


def modules(build):
    return [os.path.join(build, "ngx_http_sluice_module.so")]


def cpu(pid):
    """Seconds that the threads of a process have been on a CPU."""
    ns = 0

    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
            ns += int(file.read().split()[0])

    return ns / 1e9


def rss(pid):
    """Proportional share of memory in MB: shared files count once."""
    with open("/proc/%d/smaps_rollup" % pid) as smaps:
        return int(re.search(r"Pss:\s+(\d+)", smaps.read())[1]) / 1024


class Gateway:
    """One flavour of the gateway, with sluiced beside it if it has one."""

    def __init__(self, name, dir, upstream, build):
        (http, location), module, self.has_sluiced = FLAVOURS[name]
        self.port = ports.free_port()
        self.dir = os.path.join(dir, name)
        self.files = "/dev/shm/%s.%s" % (dir.lstrip("/").replace("/", "."),
                                         name)
        values = {"files": self.files, "dir": self.dir, "port": self.port,
                  "upstream": upstream}
        values["http"] = http % values
        values["location"] = location % values
        os.makedirs(self.dir)

        self.nginx = Nginx(self.dir, GATEWAY % values, ready=self.port,
                           modules=modules(build) if module else [],
                           log_level="error",
                           user="www-data" if os.getuid() == 0 else None)
        self.sluiced = Process([os.path.join(build, "sluiced"), "--dir",
                                self.files, "--sink", "null:"],
                               os.path.join(self.dir, "sluiced.log"))

    def __enter__(self):
        self.nginx.start()
        if self.has_sluiced:
            self.sluiced.start()
        return self

    def __exit__(self, *exception):
        self.nginx.stop()
        if self.has_sluiced:
            self.sluiced.stop()
        shutil.rmtree(self.files, ignore_errors=True)

    def measure(self, seconds, script):
        """One run of wrk; returns figures for a request."""
        worker = self.nginx.workers()[0]
        pin(worker, 0)
        if self.has_sluiced:
            pin(self.sluiced.pid, 0)
        before = cpu(worker)
        sidecar = cpu(self.sluiced.pid) if self.has_sluiced else 0
        out = subprocess.run(
            PINNED + ["wrk", "-t1", "-c32", "-d%ds" % seconds, "--latency",
                      "-s", script, "http://127.0.0.1:%d/v1/chat" % self.port],
            capture_output=True, text=True, check=True).stdout

        # sluiced may still be at what the last second left
        time.sleep(0.3)
        workers = cpu(worker) - before
        sidecar = (cpu(self.sluiced.pid) if self.has_sluiced else 0) - sidecar

        if re.search(r"Non-2xx|Socket errors", out):
            raise SystemExit("bench: %s did not answer all\n%s"
                             % (self.dir, out))

        requests = int(re.search(r"(\d+) requests in", out)[1])

        return {"requests": requests,
                "rps": requests / seconds,
                "cpu_us": workers / requests * 1e6,
                "all_us": (workers + sidecar) / requests * 1e6,
                "p50_us": _us(re.search(r"(?m)^ +50% +(\S+)", out)[1]),
                "p99_us": _us(re.search(r"(?m)^ +99% +(\S+)", out)[1]),
                "mb": rss(worker)}


def _us(text):
    number, unit = re.match(r"([\d.]+)(\w+)", text).groups()

    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def _better(figure, values):
    quartiles = statistics.quantiles(values, n=4, method="inclusive")

    return quartiles[2 if figure == "rps" else 0]


def measure(build, rounds, seconds):
    """Returns ({flavour: {figure: value}}, {ratio: value})."""
    dir = tempfile.mkdtemp(prefix="sluice-bench.")
    os.chmod(dir, 0o755)
    upstream = ports.free_port()
    body = '{"usage":{"total_tokens":11},"text":"%s"}' % ("x" * 900)
    script = os.path.join(dir, "wrk.lua")

    with open(script, "w") as file:
        file.write(SCRIPT)

    rows = {name: [] for name in FLAVOURS}

    try:
        with Nginx(os.path.join(dir, "upstream"),
                   UPSTREAM % {"upstream": upstream, "body": body},
                   ready=upstream,
                   user="www-data" if os.getuid() == 0 else None) as api:
            pin(api.workers()[0], 1)
            for i in range(rounds + 1):
                for name in FLAVOURS:
                    with Gateway(name, os.path.join(dir, str(i)),
                                 upstream, build) as gateway:
                        row = gateway.measure(seconds if i else 1, script)
                    # the first round only warms up
                    if i:
                        rows[name].append(row)
    finally:
        shutil.rmtree(dir, ignore_errors=True)

    flavours = {name: {figure: _better(figure, [row[figure] for row in runs])
                       for figure in runs[0]}
                for name, runs in rows.items()}

    def ratio(a, b, figure):
        return flavours[a][figure] / flavours[b][figure]

    ratios = {"http.cpu_full_vs_bare": ratio("full", "bare", "cpu_us"),
              "http.cpu_all_vs_log": ratio("full", "log", "all_us"),
              "http.rps_full_vs_bare": ratio("full", "bare", "rps"),
              "http.cpu_unused_vs_bare": ratio("unused", "bare", "cpu_us"),
              "keys.pool_vs_fixed": ratio("pool", "fixed", "cpu_us")}

    return flavours, ratios


def instructions(build, requests):
    """Instructions for a request, by callgrind: {flavour: number}."""
    counts = {}

    for name in "bare", "full", "fixed", "pool":
        few = _callgrind(build, name, 100)
        many = _callgrind(build, name, 100 + requests)
        counts[name] = (many - few) / requests

    return counts


def _callgrind(build, name, requests):
    dir = tempfile.mkdtemp(prefix="sluice-bench.")
    os.chmod(dir, 0o755)
    upstream, port = ports.free_port(), ports.free_port()
    files = "/dev/shm/" + os.path.basename(dir)
    (http, location), module, _ = FLAVOURS[name]
    values = {"files": files, "dir": dir, "port": port, "upstream": upstream}
    values["http"] = http % values
    values["location"] = location % values

    try:
        with Nginx(os.path.join(dir, "upstream"),
                   UPSTREAM % {"upstream": upstream, "body": "x" * 900},
                   ready=upstream):
            gateway = Nginx(os.path.join(dir, "gateway"),
                            "daemon off; master_process off;"
                            + GATEWAY % values,
                            modules=modules(build) if module else [],
                            log_level="error")
            out = os.path.join(dir, "callgrind.out")
            with Process(["valgrind", "--tool=callgrind",
                          "--callgrind-out-file=" + out, gateway.binary,
                          "-p", gateway.dir, "-c", gateway.conf],
                         os.path.join(dir, "valgrind.log")) as process:
                process.wait_ready(lambda: ports.accepts(port), 60)
                subprocess.run([os.path.join(build, "load"), str(port),
                                str(requests), "4", "0",
                                os.path.join(dir, "answers")],
                               check=True, capture_output=True)

                # nginx may be about to wait, and not see the first one
                process.send(signal.SIGTERM)
                time.sleep(0.5)
                process.stop(timeout=30)
            with open(out) as file:
                return int(re.search(r"(?m)^(?:summary|totals): (\d+)",
                                     file.read())[1])
    finally:
        shutil.rmtree(dir, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)
