"""Egress through the forward proxies that people have: tinyproxy, squid,
microsocks and dante.  Each alone carries whatever a request may be; and when
all of them are a pool, and one after the other is killed and comes back, no
request fails but those whose answers were under way."""

import asyncio
import collections
import hashlib
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import pools, ports, proxies, tap, tls      # noqa: E402
from sluicetest.keyed import ask, Say, Upstream     # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

CLIENTS = 12
MB = 1 << 20

CONF = """
worker_processes 2;
events { worker_connections 1024; }
http {
    access_log off;
    sluice_dir %(files)s;
    sluice_usage on;
    sluice_usage_field n $http_x_n;
    client_max_body_size 4m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer origin";
    proxy_set_header Host $proxy_host;
    proxy_connect_timeout 2s;
    proxy_ssl_trusted_certificate %(ca)s;
    proxy_ssl_verify on;
    proxy_ssl_server_name on;
    proxy_ssl_name localhost;
    add_header X-Proxy "$sluice_proxy_id/$sluice_proxy_result" always;
    %(alone)s
    sluice_proxy_pool all {
        balance random;
        %(all)s
        probe 127.0.0.1:%(http)d interval=1s timeout=1s;
    }
    upstream all_http {
        server 127.0.0.1:%(http)d;
        server 127.0.0.2:%(http)d;
        sluice_egress all;
        keepalive 8;
    }
    upstream all_https {
        server localhost:%(https)d;
        sluice_egress all;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:%(port)d backlog=1024;
        listen 127.0.0.1:%(h2)d http2;
        %(locations)s
        location /all/http/ { proxy_pass http://all_http; }
        location /all/https/ { proxy_pass https://all_https; }
    }
}
"""

# "localhost" is the proxy's to resolve

ALONE = """
    sluice_proxy_pool %(id)s { proxy %(url)s id=%(id)s fail_timeout=1s; }
    upstream %(id)s_http {
        server localhost:%(http)d;
        sluice_egress %(id)s;
        keepalive 4;
    }
    upstream %(id)s_https {
        server localhost:%(https)d;
        sluice_egress %(id)s;
        keepalive 4;
    }
"""

LOCATIONS = """
        location /%(id)s/http/ { proxy_pass http://%(id)s_http; }
        location /%(id)s/https/ { proxy_pass https://%(id)s_https; }
        location /%(id)s/other/ {
            proxy_ssl_name other.test;
            proxy_pass https://%(id)s_https;
        }
"""


async def curl(path, *options):
    """Over HTTP/2: the status and X-Proxy."""
    run = await asyncio.to_thread(
        subprocess.run,
        ["curl", "-sS", "--http2-prior-knowledge", "-o", os.devnull, "-w",
         "%{http_code} %header{x-proxy}", *options,
         "http://127.0.0.1:%d%s" % (values["h2"], path)],
        capture_output=True, text=True, timeout=30)
    status, _, told = run.stdout.partition(" ")

    return int(status), told


async def alone(proxy, upstream, numbers):
    """Whatever there is, through a pool of one."""
    id = proxy.program
    body = random.randbytes(MB)
    by = {(status, "%s/%s" % (id, result)) for status in (200, 502)
          for result in ("connected", "reused")}

    async def say(path, *more, **options):
        answer = await ask(values["port"], "/%s%s" % (id, path), next(numbers),
                           *more, **options)
        return (answer.status, answer.headers.get("x-proxy"))

    def is_by(told, status, name):
        tap.ok(told in by and told[0] == status, "%s: %s" % (id, name)) \
            or tap.note(told)

    for scheme in "http", "https":

        # of three requests a worker has two

        told = [await say("/%s/get" % scheme) for _ in range(3)]
        tap.is_((told[0], (200, id + "/reused") in told),
                ((200, id + "/connected"), True),
                "%s: GET, %s, and a tunnel is kept" % (id, scheme))

        for chunked in False, True:
            upstream.tries.clear()
            told = await say("/%s/post" % scheme, "POST", body,
                             chunked=chunked)
            is_by(told, 200, "POST, %s%s" % (scheme, chunked * ", in chunks"))
            tap.is_([seen.digest for tries in upstream.tries.values()
                     for seen in tries], [hashlib.sha256(body).hexdigest()],
                    "with all of its body")

        path = "/%s/%s/h2" % (id, scheme)
        is_by(await curl(path), 200, "HTTP/2, GET, %s" % scheme)
        is_by(await curl(path, "--data-binary", "@" + values["body"]), 200,
              "HTTP/2, POST, %s" % scheme)

    is_by(await say("/other/get"), 502, "an origin of another name is refused")

    await asyncio.to_thread(proxy.kill_group)
    tap.is_([(await say("/http/gone"))[0] for _ in range(2)], [503, 503],
            "%s: nothing goes direct without it" % id)
    await asyncio.to_thread(proxy.start)


async def client(numbers, asked, ended):
    """One request after the other, each as another one."""
    while not ended.is_set():
        n = next(numbers)
        path = "/all/%s/" % random.choice(("http", "http", "https"))
        size = random.choice((None, None, None, 10, 40000))
        began = time.monotonic()
        answer = await ask(values["port"], path, n,
                           "GET" if size is None else "POST",
                           None if size is None else random.randbytes(size))
        asked[n] = (answer.status, answer.headers.get("x-proxy"), began,
                    time.monotonic())


def state(id):
    return pools.members(values["files"], "proxies")["all", id]["state"]


async def together(every, numbers):
    """Each of them is killed, and started again, under load."""
    asked, kills, ended = {}, [], asyncio.Event()
    clients = [asyncio.ensure_future(client(numbers, asked, ended))
               for _ in range(CLIENTS)]
    await asyncio.sleep(1)

    for proxy in every:
        id = proxy.program
        kills.append((id, time.monotonic()))
        await asyncio.to_thread(proxy.kill_group)

        told = await asyncio.to_thread(
            wait_for, lambda: state(id) not in ("healthy", "probing"), 5)
        tap.ok(told, "%s is killed: it is down" % id)
        await asyncio.sleep(0.5)

        await asyncio.to_thread(proxy.start)
        told = await asyncio.to_thread(
            wait_for, lambda: state(id) == "healthy", 5)
        tap.ok(told, "it is back: it is up") or tap.note(state(id))
        await asyncio.sleep(0.5)

    ended.set()
    await asyncio.gather(*clients)

    return asked, kills


def check(asked, kills, records):
    found = {int(record["fields"]["n"]): record for record in records
             if "fields" in record}
    failed, counts = [], collections.Counter()

    for n, (status, told, began, ended) in asked.items():
        counts[status, (told or "").partition("/")[0]] += 1
        id = found[n].get("proxy")

        if status != 200 and not any(id == killed and began < at + 0.1
                                     and ended > at for killed, at in kills):
            failed.append((n, status, found[n]))

    tap.note(dict(counts))
    tap.is_(failed[:2], [], "of %d requests only those fail whose answers "
            "were under way: %d" % (len(asked), sum(
                1 for status, *_ in asked.values() if status != 200)))
    tap.is_(sorted(id for status, id in counts if status == 200),
            sorted(id for id, _ in kills), "each proxy has its share")
    tap.is_([(n, told, found[n].get("proxy"))
             for n, (status, told, *_) in asked.items() if status == 200
             and found[n].get("proxy") != told.partition("/")[0]][:3], [],
            "records tell the proxy that it was")

    passed = collections.Counter()
    for n in asked:
        for try_ in found[n].get("upstream", ()):
            for row in try_.get("proxies", ()):
                passed[row["result"]] += 1
    tap.note(dict(passed))
    tap.ok(passed["reused"] > passed["connected"] > 0, "tunnels are kept")


async def main(every):
    upstream = Upstream({"origin": [lambda: random.choice(
        (Say(200), Say(200), Say(200, after=0.01),
         Say(200, body=b"x" * 100000)))]})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for host in "127.0.0.1", "127.0.0.2":
        await upstream.listen(values["http"], host)
    await upstream.listen(values["https"], ssl=context)

    numbers = iter(range(1, 1 << 30))

    for proxy in every:
        await alone(proxy, upstream, numbers)

    told = await together(every, numbers)
    upstream.close()

    return told


random.seed(93)
dir = tempfile.mkdtemp(prefix="sluice-egress.")
os.chmod(dir, 0o755)
authority = tls.Authority(dir)
os.chmod(authority.dir, 0o755)
certificate = authority.sign("origin", "DNS:localhost")
every = [kind(dir, auth=kind.knows_users) for kind in proxies.ALL]
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          "ca": authority.file, "body": os.path.join(dir, "body"),
          **{name: ports.free_port() for name in ("port", "h2", "http",
                                                  "https")}}
values["alone"], values["locations"] = (
    "".join(text % {**values, "id": proxy.program, "url": proxy.url}
            for proxy in every) for text in (ALONE, LOCATIONS))
values["all"] = "\n".join("proxy %s id=%s fail_timeout=1s;"
                          % (proxy.url, proxy.program) for proxy in every)

with open(values["body"], "wb") as file:
    file.write(random.randbytes(MB))

nginx = Nginx(os.path.join(dir, "nginx"), CONF % values, ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="info")

try:
    for proxy in every:
        proxy.start()

    with nginx:
        asked, kills = asyncio.run(main(every))
        tap.is_(sum(row["in_flight"] for row in pools.members(
            values["files"], "proxies").values()), 0, "nothing is in flight")
        tap.ok(nginx.stop(timeout=30), "nginx ends")

    check(asked, kills, pools.records(values["files"], dir))
    tap.is_([line for line in nginx.errors().splitlines()
             if "[alert]" in line or "[crit]" in line or "p@ss" in line][:3],
            [], "and says nothing that it should not")
finally:
    for proxy in every:
        proxy.stop()
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
