"""What a forward proxy costs a request: through nginx's egress, and through
curl as it does the same.

The proxy is squid: of Debian's it is the one that stands before most networks,
one process and one loop, and it delays nothing (microsocks passes an answer of
more than 1 KB on in two pieces, and the second waits 40 ms for an ACK).

Latency: curl asks for one URL after the other on one connection; directly, in
one tunnel of its own, and each time through the gateway, which goes to the
origin directly or through a tunnel that it has kept.  What the proxy adds is a
difference of two medians.

CPU: utime + stime of the gateway's worker, as in gateway.py, with a load of 32
connections.

All have one core.  One request is under way at a time, so nobody waits for
another; on two cores each would first have to wake one that sleeps, which
costs more than a proxy does.  And under load what is slow would have the
gateway find fewer events at a time, which costs it more for each.

`bench/egress.py --soak N` asks N times through egress, by kept and by new
tunnels and past a proxy that is down, and tells what the workers have of
memory and descriptors before and after.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "t", "lib"), os.path.join(ROOT, "bench")]

from gateway import PINNED, cpu, modules, pin       # noqa: E402
from sluicetest import ports, process, proxies, tls     # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402

CORE = 1                        # of all there is: PINNED's
FIRST = 50                      # that many requests only warm up
PATHS = "direct", "tunnel", "gateway", "egress"

ORIGIN = """
worker_processes 1;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:%(http)d;
        listen 127.0.0.1:%(https)d ssl;
        ssl_certificate %(certificate)s;
        ssl_certificate_key %(certificate)s;
        location / { return 200 '%(body)s'; }
    }
}
"""

GATEWAY = """
worker_processes %(workers)d;
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 100000000;
    sluice_dir %(files)s;
    sluice_proxy_pool squid { proxy %(proxy)s id=squid; }
    sluice_proxy_pool half {
        proxy %(proxy)s id=squid;
        proxy http://127.0.0.1:%(down)d id=down max_fails=0;
    }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_trusted_certificate %(ca)s;
    proxy_ssl_verify on;
    proxy_ssl_name origin.test;
    %(upstreams)s
    server {
        listen 127.0.0.1:%(port)d;
        %(locations)s
        location /new {
            proxy_pass http://127.0.0.1:%(http)d;
            sluice_egress half;
        }
    }
}
"""

UPSTREAM = """
    upstream %(name)s {
        server 127.0.0.1:%(origin)d;
        %(egress)s
        keepalive 64;
        keepalive_requests %(kept)d;
        keepalive_timeout 1s;
    }
"""

# of what a worker is asked, one in ten needs a tunnel of its own
SOAK = """
local n = 0
request = function()
    n = n + 1
    return wrk.format(nil, n % 10 == 0 and "/new"
                           or n % 10 == 1 and "/https_egress"
                           or "/http_egress")
end
"""


class Chain:
    """The origin, the proxy and the gateway, and how they are asked."""

    def __init__(self, build, workers=1, kept=100000000):
        self.dir = tempfile.mkdtemp(prefix="sluice-bench.")
        os.chmod(self.dir, 0o755)
        self.files = "/dev/shm/" + os.path.basename(self.dir)
        self.ca = tls.Authority(self.dir)
        self.port = ports.free_port()
        self.origins = {"http": ports.free_port(), "https": ports.free_port()}
        self.proxy = proxies.Squid(self.dir)
        os.chmod(self.ca.dir, 0o755)
        user = "www-data" if os.getuid() == 0 else None
        values = {"ca": self.ca.file, "files": self.files, "port": self.port,
                  "proxy": self.proxy.url, "down": ports.free_port(),
                  "certificate": self.ca.sign(
                      "origin", "DNS:origin.test,IP:127.0.0.1"),
                  "workers": workers, "body": "x" * 900, **self.origins,
                  **_locations(self.origins, kept)}

        self.origin = Nginx(os.path.join(self.dir, "origin"), ORIGIN % values,
                            ready=self.origins["http"], user=user)
        self.gateway = Nginx(
            os.path.join(self.dir, "gateway"), GATEWAY % values,
            ready=self.port, user=user, log_level="crit",
            modules=modules(build))

    def __enter__(self):
        self.proxy.start()
        self.origin.start()
        self.gateway.start()
        return self

    def __exit__(self, *exception):
        self.gateway.stop()
        self.origin.stop()
        self.proxy.stop()
        shutil.rmtree(self.files, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pin(self):
        for pid in (self.gateway.workers() + self.origin.workers()
                    + process.members(self.proxy.pid)):
            pin(pid, CORE)

    def url(self, scheme, path):
        if path in ("direct", "tunnel"):
            return "%s://127.0.0.1:%d/" % (scheme, self.origins[scheme])

        return "http://127.0.0.1:%d/%s_%s" % (self.port, scheme, path)

    def p50_us(self, scheme, path, requests):
        """What curl waits, for each of them but the first ones."""
        options = ["-p", "-x", self.proxy.url] if path == "tunnel" else []
        out = subprocess.run(
            PINNED + ["curl", "-sS", "--cacert", self.ca.file, "-o",
                      os.devnull, "-w",
                      "%{time_total} %{num_connects} %{http_code}\n", *options,
                      "%s?[1-%d]" % (self.url(scheme, path),
                                     FIRST + requests)],
            check=True, capture_output=True, text=True, timeout=120).stdout
        rows = [line.split() for line in out.splitlines()]

        if (sum(int(connects) for _, connects, _ in rows) != 1
                or any(status != "200" for _, _, status in rows)):
            raise SystemExit("bench: %s, %s: not 200 on one connection\n%s"
                             % (scheme, path, out[-300:]))

        return statistics.median(float(row[0]) for row in rows[FIRST:]) * 1e6

    def load(self, url, seconds, *options):
        """wrk: how many were answered."""
        out = subprocess.run(
            PINNED + ["wrk", "-t1", "-c32", "-d%ds" % seconds, *options, url],
            check=True, capture_output=True, text=True,
            timeout=seconds + 60).stdout

        if re.search(r"Non-2xx|Socket errors", out):
            raise SystemExit("bench: %s did not answer all\n%s" % (url, out))

        return int(re.search(r"(\d+) requests in", out)[1])

    def cpu_us(self, path, seconds):
        worker, = self.gateway.workers()
        before = cpu(worker)
        requests = self.load(self.url("http", path), seconds)

        return (cpu(worker) - before) / requests * 1e6


def _locations(origins, kept):
    """For each scheme, without egress and with it."""
    upstreams, locations = "", ""

    for scheme, origin in origins.items():
        for path, egress in (("gateway", ""), ("egress",
                                               "sluice_egress squid;")):
            name = "%s_%s" % (scheme, path)
            upstreams += UPSTREAM % {"name": name, "origin": origin,
                                     "egress": egress, "kept": kept}
            locations += "location /%s { proxy_pass %s://%s; }\n" % (
                name, scheme, name)

    return {"upstreams": upstreams, "locations": locations}


def measure(build, rounds, requests, seconds):
    """Returns {figure: median of the rounds}, or None without a squid."""
    if shutil.which("squid") is None:
        print("squid is not installed: egress is not measured\n")
        return None

    with Chain(build) as chain:
        chain.pin()
        rows = [_round(chain, requests, seconds) for _ in range(rounds + 1)]

    # the first round only warms up
    return {name: statistics.median(row[name] for row in rows[1:])
            for name in rows[0]}


def _round(chain, requests, seconds):
    row = {}

    for scheme in chain.origins:
        us = {path: chain.p50_us(scheme, path, requests) for path in PATHS}
        row.update({"%s_%s" % (scheme, path): us[path] for path in PATHS})
        row[scheme + "_added"] = us["egress"] - us["gateway"]
        row[scheme + "_curl"] = us["tunnel"] - us["direct"]

    row["direct_cpu"] = chain.cpu_us("gateway", seconds)
    row["egress_cpu"] = chain.cpu_us("egress", seconds)
    row["vs_direct"] = row["egress_cpu"] / row["direct_cpu"]

    return row


def soak(build, requests):
    """Asks until so many were answered, and shows what the workers have."""
    with Chain(build, workers=2, kept=1000) as chain:
        script = os.path.join(chain.dir, "soak.lua")

        with open(script, "w") as file:
            file.write(SOAK)

        workers = chain.gateway.workers()
        asked = 0

        print("%10s  %s" % ("requests", "  ".join(
            "%8s %6s" % ("kB", "fds") for _ in workers)))

        while True:
            asked += chain.load("http://127.0.0.1:%d/" % chain.port, 10,
                                "-s", script)

            # then only what somebody has forgotten is open still
            time.sleep(2)
            print("%10d  %s" % (asked, "  ".join("%8d %6d" % held(pid)
                                                 for pid in workers)),
                  flush=True)

            if asked >= requests:
                break

        if chain.gateway.workers() != workers:
            raise SystemExit("bench: a worker has died\n"
                             + chain.gateway.errors()[-2000:])


def held(pid):
    """(kB of memory, descriptors) of a process."""
    with open("/proc/%d/status" % pid) as file:
        kilobytes = re.search(r"VmRSS:\s+(\d+)", file.read())[1]

    return int(kilobytes), len(os.listdir("/proc/%d/fd" % pid))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--soak", type=int, required=True, metavar="N")
    args = parser.parse_args()

    soak(args.build, args.soak)


if __name__ == "__main__":
    main()
