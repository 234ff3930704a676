"""Whatever proxies do, and whenever clients leave, nothing of it stays: 5,000
clients, of which many go before they are answered, with proxies that are slow,
mute, rude or gone in any phase, while the configuration is reloaded.  At the
end no proxy and no key is in flight, no descriptor is open, and what was
answered is recorded once.  `make asan` runs it with an nginx under ASan and
UBSan, which must have nothing to say."""

import asyncio
import collections
import os
import random
import re
import resource
import shutil
import ssl
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import (                            # noqa: E402
    hostile, pools, ports, sanitizer, tap, tls)
from sluicetest.keyed import (                      # noqa: E402
    ask, ask_and_reset, CUT, RESET, reset, Say, STALE, Upstream)
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

COUNT = int(os.environ.get("SLUICE_E2E_COUNT", "5000"))
CLIENTS = 64
LEAVE = 0.35                    # of the clients

CONF = """
worker_processes 2;
worker_rlimit_nofile 4096;
events { worker_connections 1024; }
http {
    access_log off;
    sluice_dir %(files)s;
    sluice_usage on;
    sluice_usage_field n $http_x_n;
    keepalive_timeout 1s;
    client_max_body_size 16m;
    client_body_buffer_size 16k;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer $sluice_key";
    proxy_connect_timeout 300ms;
    proxy_read_timeout 400ms;
    proxy_ssl_trusted_certificate %(ca)s;
    proxy_ssl_verify on;
    proxy_ssl_name origin.test;
    proxy_cache_path cache keys_zone=cache:1m;
    sluice_key_pool keys {
        cooldown off; disable off; exhaust off; breaker off;
        key k-a id=a proxy=h2; key k-b id=b proxy=s3;
        key k-c id=c proxy=h1 strict; key k-d id=d max_conns=20;
    }
    sluice_proxy_pool steady { balance least_used; %(steady)s }
    sluice_proxy_pool moody {
        balance hash $arg_c;
        %(moody)s
        probe 127.0.0.1:%(http)d interval=1s timeout=200ms;
    }
    upstream kept {
        server 127.0.0.1:%(http)d;
        sluice_egress steady;
        keepalive 8;
        keepalive_timeout 1s;
    }
    upstream pair {
        zone pair 128k; random two;
        server 127.0.0.1:%(http)d max_fails=0;
        server 127.0.0.2:%(http)d max_fails=0;
        sluice_egress moody;
        keepalive 4;
        keepalive_timeout 1s;
    }
    upstream secret {
        server 127.0.0.1:%(https)d;
        sluice_egress steady;
        keepalive 8;
        keepalive_timeout 1s;
    }
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        listen 127.0.0.1:%(h2)d http2 backlog=4096;
        sluice_key keys;
        location /kept { proxy_pass http://kept; }
        location /pair { proxy_pass http://pair; }
        location /secret { proxy_pass https://secret; }
        location /literal {
            proxy_pass https://127.0.0.1:%(https)d;
            sluice_egress steady resolve=local;
        }
        location /stream {
            proxy_request_buffering off;
            proxy_pass https://secret;
        }
        location /unbuffered {
            proxy_buffering off;
            proxy_pass http://pair;
        }
        location /direct {
            proxy_pass http://127.0.0.1:%(http)d;
            sluice_egress moody direct=allowed;
        }
        location /busy {
            sluice_key keys wait=50ms;
            proxy_next_upstream error timeout http_500 non_idempotent;
            proxy_pass http://pair;
        }
        location /cached {
            proxy_cache cache;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale error updating http_500;
            proxy_cache_background_update on;
            proxy_cache_lock on;
            proxy_cache_methods GET POST;
            proxy_cache_key $arg_c;
            proxy_pass http://pair;
        }
        location /mirror {
            mirror /mirrored;
            proxy_pass http://kept;
        }
        location = /mirrored { internal; proxy_pass https://secret; }
        location /moved {
            proxy_intercept_errors on;
            error_page 500 502 503 504 = @other;
            proxy_pass http://pair;
        }
        location @other { proxy_pass https://secret; }
        location /ignored {
            proxy_ignore_client_abort on;
            proxy_pass https://secret;
        }
    }
}
"""

PATHS = ("/kept", "/pair", "/secret", "/literal", "/stream", "/unbuffered",
         "/direct", "/busy", "/cached", "/mirror", "/moved", "/ignored")

large = Say(200, body=b"x" * 200000)

ANSWERS = [
    (40, Say(200)), (8, large), (8, Say(200, chunked=True)),
    (6, Say(200, after=0.03)), (4, Say(200, close=True)),
    (3, Say(413, early=True, close=True)), (4, Say(429)), (4, Say(500)),
    (2, RESET), (2, CUT), (3, STALE),
]

DOES = [(50, hostile.WELL), (10, hostile.SLOW), (8, hostile.BYTES),
        (4, hostile.VERBOSE), *((2, one) for one in hostile.FAULTS),
        *((3, one) for one in hostile.BROKEN)]


def drawn(rows):
    return random.choices([row for _, row in rows],
                          [weight for weight, _ in rows])[0]


async def depart(port, path, n):
    """Leaves in the midst of the head, or of the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = ("POST %s HTTP/1.1\r\nHost: gateway\r\nX-N: %d\r\n"
            "Content-Length: 300000\r\n\r\n" % (path, n)).encode()
    text += random.randbytes(random.choice((0, 1, 20000, 150000)))

    try:
        if random.random() < 0.2:
            text = text[:random.randrange(len(text))]
        writer.write(text)
        await writer.drain()
        await asyncio.sleep(random.random() * 0.1)
        if random.random() < 0.5:
            reset(writer)
    except OSError:
        pass
    finally:
        writer.close()


async def client(port, numbers, asked):
    for n in numbers:
        path = "%s?c=%d" % (random.choice(PATHS), random.randrange(20))
        asked[n] = 0

        if random.random() < 0.05:
            await ask_and_reset(values["h2"], path, n, random.random() * 0.1)
            continue

        if random.random() < 0.1:
            await depart(port, path, n)
            continue

        # up to what a handshake with a slow proxy may take

        size = random.choice((None, None, 0, 1, 3000, 40000, 300000))
        leave = random.choice((0, 0.001, 0.01, random.random() * 0.2)) \
            if random.random() < LEAVE else None
        answer = await ask(
            port, path, n,
            "GET" if size is None else random.choice(("POST", "PUT")),
            None if size is None else random.randbytes(size),
            chunked=size is not None and random.random() < 0.5, leave=leave)

        # what was glued to a proxy's reply is passed on as HTTP/0.9 has it, and
        # what the client takes for the status is none of nginx's

        asked[n] = answer.status if "server" in answer.headers else 0


def descriptors(nginx):
    return [len(os.listdir("/proc/%d/fd" % pid)) for pid in nginx.workers()]


def in_flight():
    return {name: row["in_flight"] for kind in ("keys", "proxies")
            for name, row in pools.members(values["files"], kind).items()
            if row["in_flight"]}


async def until(condition, seconds):
    for _ in range(seconds * 10):
        if condition():
            break
        await asyncio.sleep(0.1)


async def main(nginx, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream = Upstream({"k-" + id: [lambda: drawn(ANSWERS)]
                         for id in "abcd"})
    for host in "127.0.0.1", "127.0.0.2":
        await upstream.listen(values["http"], host)
    await upstream.listen(values["https"], ssl=context)

    bad = [hostile.Hostile(lambda: drawn(DOES)) for _ in range(3)]
    for proxy, port in zip(bad, (values["one"], values["two"],
                                 values["three"])):
        await proxy.listen(port)

    # those of a worker that a reload has started, as those at the end

    await asyncio.to_thread(nginx.reload)
    before = descriptors(nginx)

    asked = {}
    numbers = iter(range(1, COUNT + 1))
    clients = [asyncio.ensure_future(client(values["port"], numbers, asked))
               for _ in range(CLIENTS)]

    # then no more: what a worker has not given back ends with it

    while len(asked) < COUNT // 3 and not all(c.done() for c in clients):
        await asyncio.sleep(1)
        await asyncio.to_thread(nginx.reload)

    await asyncio.gather(*clients)

    # what nobody waits for any more ends by its timeouts, and what is kept too

    await until(lambda: not in_flight(), 6)
    tap.is_(in_flight(), {}, "nothing is in flight")

    def idle():
        return max(descriptors(nginx)) <= max(before)

    await until(idle, 6)
    tap.ok(idle(), "no descriptor is open that was not at the start") \
        or tap.note((before, descriptors(nginx)))

    did = sum((proxy.did for proxy in bad), collections.Counter())
    tap.note(dict(did.most_common()))
    tap.is_([does for _, does in DOES if not did[does]], [],
            "proxies have done all that they can")

    upstream.close()
    for proxy in bad:
        proxy.close()

    return asked


def check(asked, records):
    found = collections.defaultdict(list)
    results = collections.Counter()

    for record in records:
        if "fields" in record:
            found[int(record["fields"]["n"])].append(record)
        results.update(row["result"] for try_ in record.get("upstream", ())
                       for row in try_.get("proxies", ()))

    answered = {n: status for n, status in asked.items() if status}
    counts = collections.Counter(answered.values())
    tap.note(dict(sorted(counts.items())))
    tap.note(dict(results.most_common()))

    tap.ok(counts[200] > len(asked) * 0.15, "many were answered well")
    tap.is_([n for n in answered if len(found[n]) != 1][:5], [],
            "%d answers are recorded once" % len(answered))
    tap.is_([n for n in found if len(found[n]) > 1][:5], [],
            "and nothing twice")
    tap.is_([(n, status, found[n][0].get("status"))
             for n, status in answered.items()
             if found[n] and found[n][0].get("status") != status][:5], [],
            "with the status that the client has")
    tap.is_({"connected", "reused", "direct", "unreachable", "timeout",
             "closed", "invalid", "denied", "forbidden",
             "origin"} - set(results), set(), "tunnels have ended in all ways")


random.seed(94)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))

dir = tempfile.mkdtemp(prefix="sluice-egress-abort.")
os.chmod(dir, 0o777)
authority = tls.Authority(dir)
os.chmod(authority.dir, 0o755)
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir),
          "ca": authority.file,
          **{name: ports.free_port() for name in (
              "port", "h2", "http", "https", "one", "two", "three", "down")}}
members = [(id, "%s://u:p%%40ss@127.0.0.1:%d" % (scheme, values[port]))
           for id, scheme, port in (
               ("h1", "http", "one"), ("h2", "http", "two"),
               ("h3", "http", "three"), ("s1", "socks5", "one"),
               ("s2", "socks5", "two"), ("s3", "socks5", "three"),
               ("down", "http", "down"))]
for pool, more in (("steady", "max_fails=0"),
                   ("moody", "max_fails=1 fail_timeout=200ms max_conns=9")):
    values[pool] = "\n".join("proxy %s id=%s %s%s;" % (
        url, id, more, " backup" if id == "h3" else "") for id, url in members)

nginx = Nginx(os.path.join(dir, "nginx"),
              CONF % values, ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice",
              env=sanitizer.env(dir))

try:
    with nginx:
        asked = asyncio.run(main(nginx, authority.sign(
            "origin", "DNS:origin.test")))
        tap.ok(nginx.stop(timeout=30), "nginx ends")

    check(asked, pools.records(values["files"], dir))

    sanitizer.check(dir, nginx, r"\[alert\]", name="no worker has died, "
                    "and none has left a connection open")
    tap.is_(re.findall(r"(?m)^.*(?:p@ss|p%40ss|dTpwQHNz|k-[abcd]).*$",
                       nginx.errors())[:5], [], "no password is in the log")
finally:
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
