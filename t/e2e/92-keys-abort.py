"""Whatever comes of requests, their keys come back: clients leave at any
moment, upstreams refuse, reset, stall and say nonsense, and the configuration
is reloaded meanwhile.  Nothing is in flight at the end, and what was answered
is recorded once.  `make asan` runs it with an nginx under ASan and UBSan,
which must have nothing to say."""

import asyncio
import os
import random
import resource
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import pools, ports, sanitizer, tap            # noqa: E402
from sluicetest.keyed import (                      # noqa: E402
    ask, ask_and_reset, CUT, Junk, Names, RESET, Say, SILENT, STALE, Upstream)
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

COUNT = int(os.environ.get("SLUICE_E2E_COUNT", "6000"))
CLIENTS = 64
LEAVE = 0.2                     # of the clients

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
    proxy_read_timeout 400ms;
    proxy_cache_path cache keys_zone=cache:1m;
    resolver 127.0.0.1:%(names)d ipv6=off;
    sluice_usage on;
    sluice_usage_field n $http_x_n;
    sluice_key_tries 9;
    sluice_key_pool plain {
        cooldown off; disable off; exhaust off; breaker off;
        %(plain)s
    }
    sluice_key_pool busy {
        balance least_used;
        cooldown 429 30ms max=50ms;
        disable off;
        exhaust 402 for=50ms match="insufficient_quota";
        breaker errors=3 window=1s open=40ms max=80ms probe=100ms;
        %(busy)s
    }
    upstream kept { server 127.0.0.1:%(api)d; keepalive 8; }
    upstream pair {
        zone pair 128k; random two;
        server 127.0.0.1:%(api)d max_fails=0;
        server 127.0.0.2:%(api)d max_fails=0;
        keepalive 4;
    }
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        listen 127.0.0.1:%(h2)d http2 backlog=4096;
        set $name api.test;
        sluice_key plain;
        sluice_key_next http_401 http_402 http_403 http_429 http_500 http_503;
        location /kept { proxy_pass http://kept; }
        location /pair { proxy_pass http://pair; }
        location /named { proxy_pass http://$name:%(api)d; }
        location /stream {
            proxy_request_buffering off;
            proxy_pass http://kept;
        }
        location /unbuffered {
            proxy_buffering off;
            sluice_key_next http_401 http_402 http_429 http_500
                            non_idempotent;
            proxy_pass http://pair;
        }
        location /busy {
            sluice_key busy wait=100ms tokens=10 settle=$upstream_status;
            proxy_pass http://pair;
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
            sluice_key busy;
            proxy_pass http://pair/mirrored;
        }
        location /moved {
            proxy_intercept_errors on;
            error_page 401 402 403 429 500 502 503 504 = @other;
            sluice_key_tries 2;
            proxy_pass http://kept;
        }
        location /ignored {
            proxy_ignore_client_abort on;
            proxy_pass http://pair;
        }
        location @other { sluice_key busy; proxy_pass http://pair; }
    }
}
"""

# of what is asked here, each try must be in the record as it was seen
SEEN = "/kept", "/pair", "/named", "/stream", "/unbuffered"
PATHS = (*SEEN, "/busy", "/cached", "/mirror", "/moved")

large = Say(200, body=b"x" * 200000)
quota = Say(429, body=b'{"error":{"code":"insufficient_quota"}}')

ANSWERS = [
    (30, Say(200)), (6, large), (6, Say(200, chunked=True)),
    (6, Say(200, after=0.03)), (4, Say(200, close=True)),
    (8, Say(429, "Retry-After: 0")), (3, Say(429, early=True, close=True)),
    (4, quota), (4, Say(401, chunked=True)), (3, Say(402)),
    (6, Say(429, body=b"y" * 3000, after=0.02)), (4, Say(500)), (3, Say(503)),
    (2, Say(400)), (3, RESET), (3, CUT), (2, SILENT), (3, STALE),
    (1, Junk(b"junk\r\n\r\n")), (1, Junk(b"HTTP/1.1 777 X\r\n\r\n")),
    (1, Junk(b"HTTP/1.1 429 X\r\nRetry-After: -\0\r\n\r\n")),
]


def any_answer():
    return random.choices([say for _, say in ANSWERS],
                          [weight for weight, _ in ANSWERS])[0]


async def client(port, numbers, asked):
    for n in numbers:

        # nginx asks on, and finds when it has to choose that nobody listens

        if random.random() < 0.1:
            await ask_and_reset(values["h2"], "/ignored", n,
                                random.choice((0, 0.005, 0.01)))
            asked[n] = ("/ignored", 0, 0)
            continue

        path = random.choice(PATHS)
        size = random.choice((None, 0, 1, 3000, 40000, 300000))
        leave = random.choice((0, 0.001, 0.01, 0.05)) \
            if random.random() < LEAVE else None
        answer = await ask(
            port, "%s?c=%d" % (path, random.randrange(20)), n,
            "GET" if size is None else random.choice(("POST", "PUT")),
            None if size is None else random.randbytes(size),
            chunked=size is not None and random.random() < 0.5, leave=leave)
        asked[n] = (path, answer.status, leave)


async def main(nginx, port, api, names):
    upstream = Upstream({"%s-%s" % (pool, id): [any_answer]
                         for pool in ("plain", "busy") for id in "abcdef"})
    for host in "127.0.0.1", "127.0.0.2":
        await upstream.listen(api, host)
    await Names(["127.0.0.1", "127.0.0.2"]).listen(names)

    asked = {}
    numbers = iter(range(1, COUNT + 1))
    clients = [asyncio.ensure_future(client(port, numbers, asked))
               for _ in range(CLIENTS)]

    # then no more: what a worker has not given back ends with it

    while len(asked) < COUNT // 3 and not all(c.done() for c in clients):
        await asyncio.sleep(1)
        await asyncio.to_thread(nginx.reload)

    await asyncio.gather(*clients)

    # what nobody waits for any more ends by its timeouts
    for _ in range(60):
        await asyncio.sleep(0.1)
        if pools.in_flight(values["files"]) == 0:
            break

    members = pools.members(values["files"])
    tap.is_({key: row["in_flight"] for key, row in members.items()
             if row["in_flight"]}, {}, "nothing is in flight")
    tap.is_([key for key, n in upstream.used.items()
             if members[tuple(key.split("-"))]["used"] < n], [],
            "no key was used more often than it is said")
    tap.note("%d requests made %d tries" % (COUNT,
                                            sum(upstream.used.values())))
    upstream.close()

    return asked, upstream


def check(asked, upstream, records):
    found = {}
    for record in records:
        found.setdefault(int(record["fields"]["n"]), []).append(record)

    answered = {n: (path, status) for n, (path, status, leave) in asked.items()
                if status}
    counts = {}
    for _, status in answered.values():
        counts[status] = counts.get(status, 0) + 1
    tap.note(dict(sorted(counts.items())))

    tap.ok(counts.get(200, 0) > COUNT * 0.5, "most were answered well")
    tap.is_([n for n in answered if len(found.get(n, ())) != 1][:5], [],
            "%d answers are recorded once" % len(answered))
    tap.is_([n for n in found if len(found[n]) > 1][:5], [],
            "and nothing twice")
    tap.is_([(n, status, found[n][0].get("status"))
             for n, (_, status) in answered.items()
             if n in found and found[n][0].get("status") != status][:5], [],
            "with the status that the client has")

    wrong = []
    for n, (path, status) in answered.items():
        if path not in SEEN or n not in found:
            continue
        seen = [try_.key.partition("-")[2] for try_ in upstream.tries[n]]
        told = [row.get("key") for row in found[n][0].get("upstream", ())]
        rest = iter(told)           # a kept connection may be closed already
        if len(told) < 8 and not all(key in rest for key in seen):
            wrong.append((n, path, seen, told))
    tap.is_(wrong[:3], [], "and each try with its key")


random.seed(92)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))

dir = tempfile.mkdtemp(prefix="sluice-keys-abort.")
os.chmod(dir, 0o777)
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          **{name: ports.free_port() for name in ("port", "h2", "api", "names")},
          **{pool: " ".join("key %s-%s id=%s %s;" % (pool, id, id, more)
                            for id, more in zip("abcdef", (
                                "weight=2", "", "", "max_conns=5",
                                "limit=5000/1m tokens=100000/1m", "backup")))
             for pool in ("plain", "busy")}}
nginx = Nginx(os.path.join(dir, "nginx"), CONF % values, ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice",
              env=sanitizer.env(dir))

try:
    with nginx:
        asked, upstream = asyncio.run(main(nginx, values["port"],
                                           values["api"], values["names"]))
        tap.ok(nginx.stop(timeout=30), "nginx ends")

    check(asked, upstream, pools.records(values["files"], dir))

    sanitizer.check(dir, nginx)
    tap.is_([key for key in upstream.script if key in nginx.errors()], [],
            "no key is in the log")
finally:
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
