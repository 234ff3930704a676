"""Another key when one fails, on the wire: an upstream that answers by key
checks that each try is the client's request byte for byte, over all ways to
get there; every answer is recorded once, with the key and status of each try,
and no key has anything in flight at the end."""

import asyncio
import hashlib
import itertools
import os
import random
import shutil
import ssl
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import pools, ports, tap            # noqa: E402
from sluicetest.keyed import (                      # noqa: E402
    ask, CUT, Names, RESET, Say, SILENT, STALE, Upstream)
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402
from sluicetest.tls import Authority                # noqa: E402

SIZES = 0, 1, 16 << 10, 1 << 20, 5 << 20
BALANCERS = {"round_robin": "", "least_conn": "least_conn;",
             "ip_hash": "ip_hash;", "hash": "hash $http_x_n consistent;",
             "random": "random two least_conn;"}
HOSTS = "127.0.0.1", "127.0.0.2", "127.0.0.3"

CONF = """
worker_processes 2;
events { worker_connections 1024; }
http {
    access_log off;
    sluice_dir %(files)s;
    client_max_body_size 16m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer $sluice_key";
    proxy_set_header X-Key-Id $sluice_key_id;
    proxy_read_timeout 10s;
    resolver 127.0.0.1:%(names)d ipv6=off;
    sluice_usage on;
    sluice_usage_field n $http_x_n;
    sluice_key_tries 16;
    %(http)s
    server {
        listen 127.0.0.1:%(port)d;
        listen 127.0.0.1:%(h2)d http2;
        add_header X-Tries $sluice_tries always;
        set $name "api.test";
        %(locations)s
    }
    server {
        # what grpc_pass asks, with HTTP/2
        listen 127.0.0.1:%(grpc)d http2;
        sluice_usage off;
        location / {
            if ($http_authorization = "Bearer grpc-a") { return 429 "a"; }
            if ($http_authorization = "Bearer grpc-b") { return 401 "b"; }
            return 200 "$http_x_key_id";
        }
    }
}
"""

# nothing is remembered of an answer: each request begins anew
PLAIN = "cooldown off; disable off; exhaust off; breaker off;"

refused = Say(429, body=b"wait"), Say(401, body=b"who", chunked=True), \
    Say(402, body=b"pay"), Say(403), Say(429, body=b""), \
    Say(401, "WWW-Authenticate: Bearer")

# pools, and their locations, whose upstream is not ours
UNSEEN = "grpc", "out"

CALLS = itertools.count(1)


class Conf:
    """The configuration: pools and locations, as they are added."""

    def __init__(self, values):
        self.values = values
        self.http = self.locations = ""

    def pool(self, name, keys, lines="", backup=()):
        """A pool with the keys NAME-ID; those of `backup` come last."""
        for id in (*keys, *backup):
            lines += " key %s-%s id=%s%s;" % (
                name, id, id, " backup" if id in backup else "")
        self.http += "sluice_key_pool %s { %s }\n" % (name, lines)

    def upstream(self, name, *servers, lines=""):
        self.http += "upstream %s { %s %s }\n" % (
            name, lines, " ".join("server %s;" % server
                                  for server in servers))

    def location(self, path, pool, to, *lines):
        self.locations += "location = %s { sluice_key %s; %s %s }\n" % (
            path, pool, " ".join(lines),
            to if " " in to else "proxy_pass %s;" % to)

    def text(self):
        return CONF % {**self.values, "http": self.http,
                       "locations": self.locations}


class Test:
    def __init__(self, dir, values):
        self.values = values
        self.port = values["port"]
        self.api = values["api"]
        self.conf = Conf(values)
        self.script = {}
        self.asked = {}             # n: the status that its client got
        self.sent = {}              # n: (method, uri, size, digest)

    def pool(self, name, script, lines="", backup=()):
        """script: {id: answers}"""
        for id, answers in script.items():
            self.script["%s-%s" % (name, id)] = answers
        self.conf.pool(name, [id for id in script if id not in backup],
                       lines, backup)

    async def ask(self, path, method="GET", body=None, **more):
        n = next(CALLS)
        self.sent[n] = (method, path, len(body or b""),
                        hashlib.sha256(body or b"").hexdigest())
        answer = await ask(more.pop("port", self.port), path, n, method, body,
                           **more)
        self.asked[n] = answer.status

        return n, answer

    def tries(self, n):
        return [(try_.key, try_.status) for try_ in self.upstream.tries[n]]

    def wrong(self, n):
        """What the tries of a request differ in from what was sent."""
        tries = self.upstream.tries[n]
        wrong = [(try_.method, try_.uri, try_.size, try_.digest)
                 for try_ in tries
                 if (try_.method, try_.uri, try_.size, try_.digest)
                 != self.sent[n] and try_.size is not None]
        wrong += [try_.headers for try_ in tries
                  if try_.headers != tries[0].headers]
        wrong += [(try_.key, try_.id) for try_ in tries
                  if try_.key.partition("-")[2] != try_.id]

        return wrong


# parts of the test: what is to be configured, then what is to be asked


class Bodies:
    """Sizes and framings, in memory and in files, over one connection."""

    def configure(self, test):
        test.pool("body", {"a": [refused[0]], "b": [refused[2]],
                           "c": [Say(200)]}, PLAIN, backup="c")
        test.conf.upstream("kept", "127.0.0.1:%d" % test.api,
                           lines="keepalive 8;")
        test.conf.location("/memory", "body", "http://kept",
                           "client_body_buffer_size 8m;")
        test.conf.location("/file", "body", "http://kept",
                           "client_body_buffer_size 1k;")
        test.conf.location("/stream", "body", "http://kept",
                           "proxy_request_buffering off;")

    async def run(self, test):
        bad, wrong, apart, count = [], [], [], 0

        for path, size, chunked, expect, method in itertools.product(
                ("/memory", "/file"), SIZES, (False, True), (False, True),
                ("POST", "PUT")):
            body = random.randbytes(size)
            n, answer = await test.ask(path, method, body, chunked=chunked,
                                       expect=expect and size > 0)
            tries = test.upstream.tries[n]
            count += 1
            if answer.status != 200 \
                    or [status for _, status in test.tries(n)[2:]] != [200] \
                    or {status for _, status in test.tries(n)[:2]} \
                    != {429, 402}:
                bad.append((path, size, chunked, answer, test.tries(n)))
            wrong += test.wrong(n)
            if len({try_.connection for try_ in tries}) != 1:
                apart.append((path, size, chunked,
                              [try_.connection for try_ in tries]))

        tap.is_(bad[:3], [], "%d bodies: two keys refused, the third well"
                % count)
        tap.is_(wrong[:3], [], "each try is the client's request")
        tap.is_(apart[:3], [], "all tries on one connection")

        # what is not kept cannot be sent again

        n, answer = await test.ask("/stream", "POST", b"x" * 100000)
        tap.is_((answer.status in (402, 429), len(test.tries(n))), (True, 1),
                "an unbuffered body is sent once")
        n, answer = await test.ask("/stream")
        tap.is_((answer.status, len(test.tries(n))), (200, 3),
                "a request without one as ever")


class Early:
    """An answer that comes before the body was taken."""

    def configure(self, test):
        test.pool("early", {"a": [Say(429, early=True)],
                            "b": [Say(401, early=True, close=True)],
                            "c": [Say(200)]}, PLAIN, backup="c")
        test.conf.location("/early", "early", "http://kept")

    async def run(self, test):
        bad, wrong = [], []

        for size, chunked in itertools.product(SIZES, (False, True)):
            n, answer = await test.ask("/early", "POST",
                                       random.randbytes(size),
                                       chunked=chunked)
            if answer.status != 200 or len(test.tries(n)) != 3:
                bad.append((size, chunked, answer, test.tries(n)))
            wrong += test.wrong(n)

        tap.is_(bad[:3], [], "refused before the body has gone")
        tap.is_(wrong[:3], [], "and whole with the next key")


class Long:
    """More tries than a record has room for."""

    def configure(self, test):
        test.pool("long", {**{id: [Say(429)] for id in "abcdefghijk"},
                           "w": [Say(200)]}, PLAIN, backup="w")
        test.conf.location("/long", "long", "http://kept")

    async def run(self, test):
        n, answer = await test.ask("/long")
        tap.is_((answer.status, len(test.tries(n))), (200, 12),
                "the twelfth key is well")


class Tls:
    """TLS to the upstream."""

    def configure(self, test):
        test.pool("tls", {"a": [refused[0]], "b": [refused[1]],
                          "c": [Say(200)]}, PLAIN, backup="c")
        test.conf.upstream("secure", "127.0.0.1:%d" % test.values["tls"],
                           "127.0.0.2:%d" % test.values["tls"],
                           lines="keepalive 8;")
        test.conf.location("/tls", "tls", "https://secure",
                           "proxy_ssl_verify on;",
                           "proxy_ssl_name api.test;",
                           "proxy_ssl_trusted_certificate %s;"
                           % test.values["ca"])

    async def run(self, test):
        answers, wrong = [], []

        for size in SIZES * 3:
            n, answer = await test.ask("/tls", "POST",
                                       random.randbytes(size))
            answers.append((answer.status, len(test.tries(n))))
            wrong += test.wrong(n)

        tap.is_(set(answers), {(200, 3)}, "over TLS")
        tap.is_(wrong[:3], [], "the same")


class Http2:
    """Clients with HTTP/2."""

    def configure(self, test):
        pass

    async def run(self, test):
        path = os.path.join(test.values["dir"], "body")
        got, wrong = [], []

        for size, to in itertools.product(SIZES, ("/memory", "/file")):
            body = random.randbytes(size)
            with open(path, "wb") as file:
                file.write(body)

            n = next(CALLS)
            test.sent[n] = ("POST", to, size, hashlib.sha256(body).hexdigest())
            curl = await asyncio.create_subprocess_exec(
                "curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null",
                "-w", "%{http_code} %{http_version}", "-H", "X-N: %d" % n,
                "--data-binary", "@" + path,
                "http://127.0.0.1:%d%s" % (test.values["h2"], to),
                stdout=asyncio.subprocess.PIPE)
            out, _ = await curl.communicate()
            test.asked[n] = int(out.split()[0])
            got.append((out, len(test.tries(n))))
            wrong += test.wrong(n)

        tap.is_(set(got), {(b"200 2", 3)}, "HTTP/2 before us")
        tap.is_(wrong[:3], [], "the same")


class Balancers:
    """Several servers, under each of nginx's balancers."""

    def configure(self, test):
        self.ids = "abcdef"
        test.pool("many", {**{id: [answer] for id, answer
                              in zip(self.ids, refused)}, "w": [Say(200)]},
                  PLAIN, backup="w")
        test.pool("two", {"a": [refused[0]], "w": [Say(200)]}, PLAIN,
                  backup="w")

        for (name, lines), zone, kept in itertools.product(
                BALANCERS.items(), (False, True), (False, True)):
            full = "%s%d%d" % (name, zone, kept)
            if zone:
                lines += "zone %s 128k;" % full
            if kept:
                lines += "keepalive 8;"
            test.conf.upstream(full, *("%s:%d max_fails=1" % (host, test.api)
                                       for host in HOSTS), lines=lines)
            test.conf.location("/" + full, "many", "http://" + full)
            test.conf.location("/two/" + full, "two", "http://" + full)

    async def run(self, test):
        for name in BALANCERS:
            bad, wrong, servers = [], [], set()

            for zone, kept in itertools.product((0, 1), (0, 1)):
                for path, tries in ("/%s%d%d", 7), ("/two/%s%d%d", 2):
                    path = path % (name, zone, kept)
                    done = await asyncio.gather(*(
                        test.ask(path, "POST", random.randbytes(2000))
                        for _ in range(20)))
                    for n, answer in done:
                        keys = [key for key, _ in test.tries(n)]
                        if answer.status != 200 or len(set(keys)) != tries \
                                or len(keys) != tries:
                            bad.append((path, answer, test.tries(n)))
                        wrong += test.wrong(n)
                        servers |= {try_.server[0]
                                    for try_ in test.upstream.tries[n]}

            tap.is_(bad[:2], [], "%s: each key once, whatever the servers"
                    % name)
            tap.is_(wrong[:2], [], "%s: and each try the request" % name)
            if name != "ip_hash":
                tap.is_(servers, set(HOSTS), "%s: over all servers" % name)

        tap.ok("temporarily disabled" not in test.nginx.errors(),
               "no server is blamed for a key")


class Named:
    """An address that is asked of a resolver, for each request."""

    def configure(self, test):
        test.pool("named", {"a": [refused[0]], "b": [refused[1]],
                            "c": [refused[2]], "w": [Say(200)]}, PLAIN,
                  backup="w")
        test.conf.location("/named", "named", "http://$name:%d" % test.api)

    async def run(self, test):
        got, wrong = [], []

        for size in SIZES:
            n, answer = await test.ask("/named", "POST",
                                       random.randbytes(size))
            got.append((answer.status, len(test.tries(n))))
            wrong += test.wrong(n)

        tap.is_(set(got), {(200, 4)}, "a name: four keys over two addresses")
        tap.is_(wrong[:3], [], "the same")
        tap.ok(test.names.asked > 0, "which was asked for")


class Grpc:
    """grpc_pass makes its requests by the same rules."""

    def configure(self, test):
        test.conf.pool("grpc", "ab", PLAIN, backup="c")
        test.conf.location("/grpc", "grpc",
                           'grpc_set_header Authorization "Bearer $sluice_key";'
                           "grpc_set_header X-Key-Id $sluice_key_id;"
                           "grpc_pass 127.0.0.1:%d;" % test.values["grpc"])

    async def run(self, test):
        got = []

        for size in 0, 1 << 20:
            n, answer = await test.ask("/grpc", "POST",
                                       random.randbytes(size))
            got.append((answer.status, answer.headers.get("x-tries")))
            del test.asked[n]           # the upstream was not ours

        tap.is_(got[0], (200, "3"), "gRPC")
        tap.ok(got[1] in ((429, "1"), (401, "1")),
               "but not a body of which it keeps nothing")


class Faults:
    """Upstreams that fail: the next server, with the next key."""

    def configure(self, test):
        for name, fault in ("reset", RESET), ("cut", CUT), ("silent", SILENT):
            test.pool(name, {"a": [fault], "w": [Say(200)]}, PLAIN,
                      backup="w")
        test.conf.upstream("servers", *("%s:%d max_fails=0" % (h, test.api)
                                        for h in HOSTS))

        for name in "reset", "cut", "silent":
            test.conf.location("/" + name, name, "http://servers",
                               "proxy_read_timeout 300ms;")
        test.conf.location("/one", "reset",
                           "http://127.0.0.1:%d" % test.api)

        # a server that nginx has put out of service: nothing goes out
        test.pool("out", {"a": [Say(200)]}, PLAIN)
        test.conf.upstream("closed", *["127.0.0.1:%d fail_timeout=1m"
                                       % test.values["closed"]] * 2,
                           lines="zone closed 128k;")
        test.conf.location("/out", "out", "http://closed")

        # once it was well, then the kept connection is gone
        test.pool("gone", {"a": [STALE, Say(200)]},
                  "breaker errors=1 open=1m;")
        test.conf.upstream("kept1", "127.0.0.1:%d" % test.api,
                           lines="keepalive 1;")
        test.conf.location("/gone", "gone", "http://kept1")
        test.pool("5xx", {"a": [Say(500)], "b": [Say(503)],
                          "w": [Say(200)]}, PLAIN, backup="w")
        test.conf.location("/5xx", "5xx", "http://kept",
                           "sluice_key_next http_500 http_503"
                           " non_idempotent;")
        test.conf.location("/5xx-not", "5xx", "http://kept")

        # an operator who says it is the keys' wants no server blamed for it
        test.pool("down", {"a": [Say(500)], "b": [Say(503)], "c": [Say(500)],
                           "w": [Say(200)]}, PLAIN, backup="w")
        test.conf.upstream("pair", *("%s:%d" % (host, test.api)
                                     for host in HOSTS[:2]))
        test.conf.location("/down", "down", "http://pair",
                           "sluice_key_next http_500 http_503;")
        test.conf.location("/down-named", "down",
                           "http://$name:%d" % test.api,
                           "sluice_key_next http_500 http_503;")

    async def run(self, test):
        for name in "reset", "cut", "silent":
            n, answer = await test.ask("/" + name)
            noted = {"reset": 502, "cut": 502, "silent": 504}[name]
            tap.is_((answer.status, test.tries(n)),
                    (200, [(name + "-a", noted), (name + "-w", 200)]),
                    "%s: another server, another key" % name)

        n, answer = await test.ask("/reset", "POST", b"x" * 5000)
        tap.is_((answer.status, len(test.tries(n))), (502, 1),
                "not with a POST: it may have been done")
        n, answer = await test.ask("/one")
        tap.is_((answer.status, len(test.tries(n))), (502, 1),
                "nor with an only server: proxy_next_upstream decides")

        n, answer = await test.ask("/5xx", "POST", b"x" * 50000)
        tap.is_((answer.status, len(test.tries(n)), test.wrong(n)),
                (200, 3, []), "5xx, where it is asked for")
        n, answer = await test.ask("/5xx-not")
        tap.ok(answer.status in (500, 503) and len(test.tries(n)) == 1,
               "and where not, it is the client's answer")

        got = [(answer.status, len(test.tries(n))) for path in
               ["/down", "/down-named"] * 4
               for n, answer in [await test.ask(path)]]
        tap.is_(set(got), {(200, 4)}, "and no server is out for it")

        got = [(await test.ask("/out"))[1].status for _ in range(3)]
        tap.is_((got, test.key("out", "a")["used"]), ([502] * 3, 0),
                "a server that is out is not asked")
        for n in list(test.asked)[-3:]:
            del test.asked[n]           # nor has it seen anything

        answers = []
        for _ in range(20):
            n, answer = await test.ask("/gone")
            answers.append((answer.status,
                            [status for _, status in test.tries(n)]))
        tap.is_({status for status, _ in answers}, {200},
                "a kept connection that was closed costs no request")
        tap.ok((200, [502, 200]) in answers, "there was one")
        tap.is_(test.key("gone", "a")["state"], "healthy", "nor the key")


class States:
    """What answers make of a key, seen by clients and by sluicectl."""

    def configure(self, test):
        wait = Say(429, "Retry-After: 1", body=b"wait")
        test.pool("cool", {"a": [wait, wait, Say(200)]})
        test.pool("deny", {"a": [Say(401)]})
        test.pool("dry", {"a": [Say(429, body=b'{"error":{"message":"You'
                                    b' exceeded","type":"insufficient_quota",'
                                    b'"code":"insufficient_quota"}}')]})
        test.pool("dry2", {"a": [Say(
            400, "Content-Type: application/json", chunked=True,
            body=b'{"type":"error","error":{"type":"invalid_request_error",'
            b'"message":"Your credit balance is too low to"}}')],
            "b": [Say(200)]}, backup=("b",))
        test.pool("break", {"a": [Say(500)] * 3 + [Say(502), Say(200)]},
                  "breaker errors=3 window=10s open=1s max=1m;")
        test.pool("mine", {"a": [Say(400), Say(404), Say(413), Say(422),
                                 Say(200)] * 3},
                  "breaker errors=1; disable 401 after=1;")
        test.pool("mixed", {"a": [Say(401, body=b"no")],
                            "b": [Say(429, "Retry-After: 7",
                                      "X-Mark: last", body=b"slow")]},
                  PLAIN)

        for name in "cool", "deny", "dry", "dry2", "break", "mine", "mixed":
            test.conf.location("/" + name, name, "http://kept")

    async def run(self, test):
        # 429 twice, for a second each

        at = time.monotonic()
        got = []
        while not got or got[-1][0] != 200:
            n, answer = await test.ask("/cool")
            got.append((answer.status, len(test.tries(n)),
                        answer.headers.get("retry-after")))
            await asyncio.sleep(0.05)
            if time.monotonic() - at > 10:
                break
        took = time.monotonic() - at
        asked = [row for row in got if row[1]]
        tap.is_([row[0] for row in asked], [429, 429, 200],
                "asked again when it said, and not before")
        tap.is_(set(got) - set(asked), {(429, 0, "1")},
                "meanwhile refused, with Retry-After")
        tap.ok(1.9 < took < 4, "two seconds: %.2f" % took)

        got = [(await test.ask("/deny"))[1].status for _ in range(5)]
        tap.is_(got, [401] * 3 + [503] * 2, "401 thrice disables")
        key = test.key("deny", "a")
        tap.is_((key["state"], key["used"]), ("disabled", 3), "for good")

        for name, wanted in ("dry", [429, 503]), ("dry2", [200, 200]):
            got = [(await test.ask("/" + name))[1] for _ in range(2)]
            tap.is_([answer.status for answer in got], wanted,
                    "a quota error in a body exhausts")
            tap.is_(test.key(name, "a")["state"], "exhausted", "a day")

        got = [(await test.ask("/break"))[1].status for _ in range(4)]
        tap.is_(got, [500] * 3 + [503], "the breaker opens")
        await asyncio.sleep(1.1)
        got = [(await test.ask("/break"))[1].status for _ in range(2)]
        tap.is_(got, [502, 503], "a probe that fails opens it again")
        await asyncio.sleep(1.1)
        got = [(await test.ask("/break"))[1].status for _ in range(2)]
        tap.is_((got, test.key("break", "a")["state"]),
                ([200, 200], "healthy"),
                "for twice as long, but an early try that is well ends it")

        got = [(await test.ask("/mine"))[1].status for _ in range(15)]
        tap.is_(got, [400, 404, 413, 422, 200] * 3,
                "a client's errors are the client's")
        tap.is_(test.key("mine", "a")["state"], "healthy", "and no key's")

        for _ in range(2):
            n, answer = await test.ask("/mixed")
            last = test.tries(n)[-1]
            tap.is_((len(test.tries(n)), answer.status,
                     answer.headers.get("x-mark"), answer.body),
                    (2, last[1], "last" if last[0] == "mixed-b" else None,
                     b"slow" if last[0] == "mixed-b" else b"no"),
                    "none is well: the last answer as it was")


PARTS = [Bodies(), Early(), Long(), Tls(), Http2(), Balancers(), Named(), Grpc(),
         Faults(), States()]


async def main(test, nginx):
    test.upstream = upstream = Upstream(test.script)
    test.names = Names(HOSTS[:2])
    await test.names.listen(test.values["names"])

    for host in HOSTS:
        await upstream.listen(test.api, host)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(test.values["certificate"])
    for host in HOSTS[:2]:
        await upstream.listen(test.values["tls"], host, context)

    test.nginx = nginx
    test.key = lambda pool, id: pools.members(test.values["files"])[pool, id]

    for part in PARTS:
        tap.note(part.__doc__)
        await part.run(test)

    await asyncio.sleep(0.5)
    keys = pools.members(test.values["files"])
    tap.is_([key for key, row in keys.items() if row["in_flight"]], [],
            "nothing is in flight")
    tap.is_({key: row["used"] for key, row in keys.items()
             if key[0] not in UNSEEN and row["used"]},
            {tuple(key.split("-")): n for key, n in upstream.used.items()},
            "keys were used as often as the upstream saw them")

    upstream.close()


def check_records(test):
    """Each answer once, and in it each try."""
    records = pools.records(test.values["files"], test.values["dir"])
    found = {}
    for record in records:
        n = int(record.get("fields", {}).get("n", 0))
        if record["uri"].lstrip("/") not in UNSEEN:
            found.setdefault(n, []).append(record)

    tap.is_([n for n in test.asked if len(found.get(n, ())) != 1][:5], [],
            "%d answers are recorded once" % len(test.asked))
    tap.is_([n for n in found if n not in test.asked][:5], [],
            "and nothing else")
    tap.is_([(n, status, rows[0].get("status")) for n, status in
             test.asked.items() for rows in [found.get(n) or [{}]]
             if rows[0].get("status") != status][:5], [],
            "with the status that the client has")

    wrong = []
    for n in test.asked:
        record = (found.get(n) or [{}])[0]
        seen = [(key.partition("-")[2], status) for key, status
                in test.tries(n)]
        told = [(row.get("key"), row.get("status"))
                for row in record.get("upstream", ())]
        if len(seen) > 8:
            seen[7:-1] = []
        if told != seen or record.get("tries", 0) != len(test.tries(n)):
            wrong.append((n, told, seen))
    tap.is_(wrong[:3], [], "each try in it with its key and its status")

    texts = test.nginx.errors() + repr(records)
    tap.is_([key for key in test.script if key in texts], [],
            "no key is in a record or a log")


random.seed(90)
dir = tempfile.mkdtemp(prefix="sluice-keys.")
os.chmod(dir, 0o755)
authority = Authority(dir)
values = {name: ports.free_port() for name in
          ("port", "api", "h2", "grpc", "tls", "names",
           "closed")}
values.update(files="/dev/shm/%s.files" % os.path.basename(dir), dir=dir,
              ca=authority.file,
              certificate=authority.sign("api", "DNS:api.test"))
os.chmod(authority.dir, 0o755)
os.chmod(authority.file, 0o644)
test = Test(dir, values)

for part in PARTS:
    part.configure(test)

nginx = Nginx(os.path.join(dir, "nginx"), test.conf.text(),
              ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice")

try:
    with nginx:
        asyncio.run(main(test, nginx))
        test.nginx = nginx
        tap.ok(nginx.stop(), "nginx ends")
    check_records(test)
finally:
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
