"""Whatever proxies do, and whenever clients leave: proxies that hang, reset,
say nonsense and come back, origins that fail, keys that are refused, reloads.
What is answered is the answer to what was asked, and is recorded once; nothing
goes out without a proxy; nothing is in flight at the end, and no descriptor is
left.  `make asan` runs it with an nginx under ASan and UBSan."""

import asyncio
import collections
import hashlib
import os
import random
import resource
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import hostile, pools, ports, sanitizer, tap       # noqa: E402
from sluicetest.hostile import Hostile                  # noqa: E402
from sluicetest.keyed import (                          # noqa: E402
    ask, ask_and_reset, CUT, RESET, Say, SILENT, STALE, Upstream)
from sluicetest.nginx import Nginx                      # noqa: E402
from sluicetest.stack import BINARY, MODULE             # noqa: E402

COUNT = int(os.environ.get("SLUICE_E2E_COUNT", "6000"))
CLIENTS = 64
LEAVE = 0.3                     # of the clients
PROXIES = 6

CONF = """
worker_processes 2;
worker_rlimit_nofile 4096;
events { worker_connections 1024; }
http {
    access_log off;
    sluice_dir %(files)s;
    client_max_body_size 16m;
    client_body_buffer_size 16k;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer $sluice_key";
    proxy_set_header X-Key-Id $sluice_key_id;
    proxy_connect_timeout 200ms;
    proxy_read_timeout 400ms;
    proxy_cache_path cache keys_zone=cache:1m;
    sluice_usage on;
    sluice_usage_field n $http_x_n;
    sluice_key_tries 4;
    sluice_key_pool keys {
        cooldown off; disable off; exhaust off; breaker off;
        key keys-a id=a; key keys-b id=b proxy=p1; key keys-c id=c proxy=p2 strict;
        key keys-w id=w backup;
    }
    sluice_proxy_pool any { %(proxies)s }
    sluice_proxy_pool tied { balance hash $sluice_key_id; %(proxies)s }
    sluice_proxy_pool few { balance least_used; %(few)s probe 127.0.0.1:%(api)d interval=1s timeout=200ms; }
    upstream kept { server 127.0.0.1:%(api)d; sluice_egress any; keepalive 8; }
    upstream new { server 127.0.0.1:%(api)d max_fails=0; sluice_egress few; }
    upstream pair {
        zone pair 128k; random two;
        server 127.0.0.1:%(api)d max_fails=0;
        server 127.0.0.2:%(api)d max_fails=0;
        server 127.0.0.2:%(none)d max_fails=0;
        sluice_egress tied;
        keepalive 4;
    }
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        listen 127.0.0.1:%(h2)d http2 backlog=4096;
        sluice_key keys;
        location /kept { proxy_pass http://kept; }
        location /new { proxy_pass http://new; }
        location /pair { proxy_pass http://pair; }
        location /literal {
            sluice_egress few;
            proxy_pass http://localhost:%(api)d;
        }
        location /stream {
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://kept;
        }
        location /cached {
            proxy_cache cache;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale error updating http_500 http_429;
            proxy_cache_background_update on;
            proxy_cache_lock on;
            proxy_cache_methods GET POST;
            proxy_cache_key $arg_c;
            proxy_pass http://kept;
        }
        location /mirror {
            mirror /mirrored;
            proxy_pass http://kept;
        }
        location = /mirrored {
            internal;
            proxy_pass http://pair/mirrored;
        }
        location /moved {
            proxy_intercept_errors on;
            error_page 401 402 403 429 500 502 503 504 = @other;
            proxy_pass http://new;
        }
        location /ignored {
            proxy_ignore_client_abort on;
            proxy_pass http://pair;
        }
        location @other { proxy_pass http://kept; }
    }
}
"""

PATHS = ("/kept", "/new", "/pair", "/literal", "/stream", "/cached", "/mirror",
         "/moved")

ANSWERS = [
    (60, Say(200)), (6, Say(200, body=b"x" * 200000)),
    (6, Say(200, chunked=True)), (6, Say(200, after=0.03)),
    (4, Say(200, close=True)), (8, Say(429)), (4, Say(401, chunked=True)),
    (4, Say(500)), (3, RESET), (3, CUT), (1, SILENT), (3, STALE),
]


def chosen(weighted):
    return random.choices([one for _, one in weighted],
                          [weight for weight, _ in weighted])[0]


# what waits for a timeout is more seldom

DOES = [(6 if one in (hostile.HOLE, hostile.MUTE, hostile.GARBAGE) else 12, one)
        for one in hostile.FAULTS] + [(60, one) for one in hostile.GOOD]


async def client(values, numbers, asked, sent):
    for n in numbers:
        if random.random() < 0.1:
            await ask_and_reset(values["h2"], "/ignored", n,
                                random.choice((0, 0.005, 0.01, 0.1)))
            asked[n] = ("/ignored", 0)
            continue

        path = random.choice(PATHS)
        size = random.choice((None, 0, 1, 3000, 40000, 300000))
        body = None if size is None else random.randbytes(size)
        leave = random.choice((0, 0.001, 0.01, 0.05, 0.15)) \
            if random.random() < LEAVE else None
        sent[n] = (size or 0, hashlib.sha256(body or b"").hexdigest())
        answer = await ask(
            values["port"], "%s?c=%d" % (path, random.randrange(20)), n,
            "GET" if size is None else random.choice(("POST", "PUT")), body,
            chunked=size is not None and random.random() < 0.5, leave=leave)
        asked[n] = (path, answer.status)


def descriptors(nginx):
    return sum(len(os.listdir("/proc/%d/fd" % pid)) for pid in nginx.workers())


async def main(nginx, values):
    upstream = Upstream({"keys-%s" % id: [lambda: chosen(ANSWERS)]
                         for id in "abc"} | {"keys-w": [Say(200)]})
    for host in "127.0.0.1", "127.0.0.2":
        await upstream.listen(values["api"], host)

    proxies = [Hostile(lambda: chosen(DOES)) for _ in range(PROXIES)]
    for i, proxy in enumerate(proxies):
        await proxy.listen(values["p%d" % i])

    before = descriptors(nginx)
    asked, sent = {}, {}
    numbers = iter(range(1, COUNT + 1))
    clients = [asyncio.ensure_future(client(values, numbers, asked, sent))
               for _ in range(CLIENTS)]

    while len(asked) < COUNT // 3 and not all(c.done() for c in clients):
        await asyncio.sleep(1)
        await asyncio.to_thread(nginx.reload)

    await asyncio.gather(*clients)

    for _ in range(80):
        await asyncio.sleep(0.1)
        members = pools.members(values["files"], "proxies")
        flying = {id: row["in_flight"] for id, row in members.items()
                  if row["in_flight"]}
        if not flying and pools.in_flight(values["files"]) == 0:
            break

    tap.is_(flying, {}, "no proxy has anything in flight")
    tap.is_(pools.in_flight(values["files"]), 0, "and no key")

    did = sum((proxy.did for proxy in proxies), collections.Counter())
    tap.note(dict(did))
    tap.is_([one for _, one in DOES if not did[one]], [],
            "%d connections had every fault" % sum(did.values()))
    tap.is_(sum(proxy.early for proxy in proxies), 0,
            "nothing was sent before its tunnel was made")
    tap.is_({to for proxy in proxies for to in proxy.asked}
            - {(host, values[port]) for host in
               ("127.0.0.1", "127.0.0.2", "localhost")
               for port in ("api", "none")}, set(),
            "and for nothing else")

    wrong = [(n, try_) for n, tries in upstream.tries.items()
             for try_ in tries
             if n in sent and try_.size is not None
             and not try_.uri.startswith("/mirrored")
             and not try_.uri.startswith("/cached")
             and (try_.size, try_.digest) != sent[n]]
    tap.is_(wrong[:2], [], "each try is the client's request")

    # kept tunnels: 8 and 4 of a worker; newer nginx has 32 for the others, too
    kept = 2 * (8 + 4 + 32 + 32)
    for _ in range(50):
        after = descriptors(nginx)
        if after <= before + kept:
            break
        await asyncio.sleep(0.1)

    tap.ok(after <= before + kept, "no descriptors are left: %d before, %d after"
           % (before, after))
    upstream.close()
    for proxy in proxies:
        proxy.close()

    return asked, proxies


def check(asked, records):
    found = {}
    for record in records:
        found.setdefault(int(record["fields"]["n"]), []).append(record)

    answered = {n: status for n, (_, status) in asked.items() if status}
    tap.note(dict(sorted(collections.Counter(answered.values()).items())))

    tap.ok(sum(status == 200 for status in answered.values()) > COUNT * 0.4,
           "most were answered well")
    tap.is_([n for n in answered if len(found.get(n, ())) != 1][:5], [],
            "%d answers are recorded once" % len(answered))
    tap.is_([n for n in found if len(found[n]) > 1][:5], [],
            "and nothing twice")
    tap.is_([(n, status, found[n][0].get("status"))
             for n, status in answered.items()
             if n in found and found[n][0].get("status") != status][:5], [],
            "with the status that the client has")

    # who was answered by an origin went through a proxy

    bad = []
    for n, status in answered.items():
        record = found.get(n, [{}])[0]
        results = [proxy["result"] for try_ in record.get("upstream", ())
                   for proxy in try_.get("proxies", ())]
        if "direct" in results or status == 200 \
                and not asked[n][0].startswith("/cached") \
                and len(results) < 8 \
                and not {"connected", "reused"} & set(results):
            bad.append((n, status, record))

    tap.is_(bad[:2], [], "none has gone direct")


random.seed(95)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))

dir = tempfile.mkdtemp(prefix="sluice-egress-integrity.")
os.chmod(dir, 0o777)
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          **{name: ports.free_port() for name in
             ("port", "h2", "api", "none",
              *("p%d" % i for i in range(PROXIES)))}}
lines = ["proxy %s://127.0.0.1:%d id=p%d %s;" % (
    ("http", "socks5")[i % 2], values["p%d" % i], i, more)
    for i, more in enumerate((
        "weight=2 fail_timeout=50ms", "fail_timeout=100ms max_fails=2",
        "max_fails=0", "max_conns=6 fail_timeout=50ms", "max_fails=0",
        "max_fails=0 backup"))]
values["proxies"] = " ".join(lines)
values["few"] = " ".join(lines[2:])
nginx = Nginx(os.path.join(dir, "nginx"), CONF % values, ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice",
              env=sanitizer.env(dir))

try:
    with nginx:
        asked, _ = asyncio.run(main(nginx, values))
        tap.ok(nginx.stop(timeout=30), "nginx ends")

    check(asked, pools.records(values["files"], dir))

    sanitizer.check(dir, nginx, r"\[alert\]")
finally:
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
