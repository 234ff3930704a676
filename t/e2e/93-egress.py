"""Requests leave through the proxies that Debian has: tinyproxy, squid,
microsocks and dante, with a password where they ask for one; to origins with
HTTP and TLS, bodies of all sizes, kept tunnels, and one of them killed."""

import asyncio
import itertools
import os
import random
import shutil
import ssl
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import pools, ports, proxies, tap       # noqa: E402
from sluicetest.keyed import ask, Say, Upstream         # noqa: E402
from sluicetest.nginx import Nginx                      # noqa: E402
from sluicetest.stack import BINARY, MODULE             # noqa: E402
from sluicetest.tls import Authority                    # noqa: E402

SIZES = None, 0, 1, 16 << 10, 1 << 20, 5 << 20

CONF = """
worker_processes 2;
events { worker_connections 1024; }
http {
    access_log off;
    sluice_dir %(files)s;
    client_max_body_size 16m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer sk";
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate %(ca)s;
    proxy_ssl_server_name on;
    proxy_ssl_name api.test;
    proxy_connect_timeout 2s;
    %(pools)s
    server {
        listen 127.0.0.1:%(port)d;
        add_header X-Proxy $sluice_proxy_id:$sluice_proxy_result always;
        %(locations)s
    }
}
"""


def configure(values, running):
    """Each proxy alone, one with all of them, and a way without any."""
    pool = locations = ""

    for id, lines in {**{id: [id] for id in running},
                      "all": list(running)}.items():
        pool += "sluice_proxy_pool %s { %s }\n" % (id, " ".join(
            "proxy %s id=%s fail_timeout=1s;" % (running[line].url, line)
            for line in lines))

        for kind, lines in (("kept", "keepalive 8;"), ("new", "")):
            for to, scheme in (("api", "http"), ("tls", "https")):
                name = "%s_%s_%s" % (id, kind, to)
                pool += "upstream %s { server 127.0.0.1:%d; sluice_egress " \
                    "%s; %s }\n" % (name, values[to], id, lines)
                locations += "location = /%s { proxy_pass %s://%s; }\n" % (
                    name, scheme, name)

        # a name, which the proxy resolves, and an origin that is not there
        locations += "location = /%s_name { sluice_egress %s; " \
            "proxy_pass http://localhost:%d; }\n" % (id, id, values["api"])
        locations += "location = /%s_none { sluice_egress %s; " \
            "proxy_pass http://127.0.0.1:%d; }\n" % (id, id, values["none"])

    return CONF % {**values, "pools": pool, "locations": locations}


async def through(test, id):
    bad, ways = [], set()

    for kind, to, size, _ in itertools.product(("new", "kept"), ("api", "tls"),
                                               SIZES, range(2)):
        n = next(test.numbers)
        body = None if size is None else random.randbytes(size)
        answer = await ask(test.port, "/%s_%s_%s" % (id, kind, to), n,
                           "GET" if body is None else "POST", body)
        tries = test.upstream.tries[n]
        way = answer.headers.get("x-proxy")
        ways.add((kind, way))

        if answer.status != 200 or len(tries) != 1 \
                or tries[0].size != (size or 0):
            bad.append((kind, to, size, answer, tries))

    tap.is_(bad[:2], [], "%s: bodies of all sizes, once each" % id)

    # newer nginx keeps connections unasked
    ways.discard(("new", id + ":reused"))
    tap.is_(ways, {("new", id + ":connected"), ("kept", id + ":connected"),
                   ("kept", id + ":reused")}, "%s: new tunnels and kept ones"
            % id)

    name = await ask(test.port, "/%s_name" % id, next(test.numbers))
    none = await ask(test.port, "/%s_none" % id, next(test.numbers))
    tap.is_((name.status, none.status, none.headers.get("x-proxy")),
            (200, 502, id + ":origin"),
            "%s: a name, and an origin that is not there" % id)


async def many(test, count=400, clients=16):
    """{(status, proxy): how often} over the pool of all."""
    seen = {}

    async def client():
        while test.left > 0:
            test.left -= 1
            answer = await ask(
                test.port, "/all_%s_%s" % (random.choice(("kept", "new")),
                                           random.choice(("api", "tls"))),
                next(test.numbers), "POST", b"x" * random.randrange(20000))
            way = answer.headers.get("x-proxy", "").partition(":")[0]
            seen[answer.status, way] = seen.get((answer.status, way), 0) + 1

    test.left = count
    await asyncio.gather(*(client() for _ in range(clients)))

    return seen


class Test:
    numbers = itertools.count(1)


async def main(test, values, running):
    test.port = values["port"]
    test.upstream = Upstream({"sk": [Say(200)]})
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(values["certificate"])
    await test.upstream.listen(values["api"])
    await test.upstream.listen(values["tls"], ssl=secure)

    for id in running:
        await through(test, id)

    seen = await many(test)
    tap.is_(set(seen), {(200, id) for id in running}, "all of them: each is used")

    # one that is killed while others go on, and comes back

    for id in "squid", "microsocks":
        load = asyncio.ensure_future(many(test, 600))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(running[id].kill_group)
        seen = await load
        tap.ok(sum(n for (status, _), n in seen.items() if status == 200)
               >= 600 - 32, "%s is killed: what was not under way goes on: %s"
               % (id, seen))
        seen = await many(test, 100)
        tap.is_({status for status, _ in seen}, {200}, "and all of the rest")

        await asyncio.to_thread(running[id].start)
        await asyncio.sleep(1.5)
        seen = await many(test, 200)
        tap.is_(set(seen), {(200, each) for each in running},
                "%s is there again" % id)

    for _ in range(50):
        await asyncio.sleep(0.1)
        members = pools.members(values["files"], "proxies")
        if not any(row["in_flight"] for row in members.values()):
            break

    tap.is_({id: row["in_flight"] for id, row in members.items()
             if row["in_flight"]}, {}, "nothing is in flight")
    test.upstream.close()


random.seed(93)
dir = tempfile.mkdtemp(prefix="sluice-egress.")
os.chmod(dir, 0o755)
authority = Authority(dir)
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          "ca": authority.file,
          "certificate": authority.sign("api.test", "DNS:api.test"),
          **{name: ports.free_port() for name in ("port", "api", "tls",
                                                  "none")}}
os.chmod(authority.dir, 0o755)
running = {kind.program: kind(dir, auth=kind.knows_users)
           for kind in proxies.ALL}
test = Test()

try:
    for proxy in running.values():
        proxy.start()

    nginx = Nginx(os.path.join(dir, "nginx"), configure(values, running),
                  ready=values["port"], binary=BINARY,
                  modules=[MODULE] if MODULE else [], log_level="notice",
                  user="www-data" if os.getuid() == 0 else None)

    with nginx:
        asyncio.run(main(test, values, running))
        tap.ok(nginx.stop(timeout=30), "nginx ends")

    tap.is_([proxy.password for proxy in running.values()
             if proxy.auth and proxy.password in nginx.errors()], [],
            "no password is in the log")
    tap.ok("exited on signal" not in nginx.errors(), "no worker has died")
finally:
    for proxy in running.values():
        proxy.stop()
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
