"""What a client is told of its limits is true: every field parses, what is said
to be left passes and no more, after t seconds more is left, and after Retry-After,
which is no sooner, the same request passes; neither is a second too late."""

import os
import random
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import ports, tap                   # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

SECONDS = 10                    # of random traffic
BURSTS = 60                     # of as many as are said to be left
WAITS = 3                       # per client, in each of the trials below
CLIENTS = 8

CONF = """
worker_processes 2;
events { worker_connections 512; }
http {
    access_log off;
    keepalive_requests 1000000;
    sluice_dir %(dir)s/files;
    sluice_limit_headers on;
    map all $zero { default 0; }
    sluice_limit_zone $arg_k zone=rps:64k window=2s;
    sluice_limit_zone $arg_k zone=tps:64k window=3s unit=tokens;
    sluice_limit_zone $arg_k zone=odd-1_B:64k window=1500ms unit=bytes;
    sluice_limit_zone $arg_k zone=minute:64k window=61s;
    sluice_limit_zone $arg_k zone=hour:64k window=1h;
    sluice_limit_zone $arg_k zone=day:64k window=1d unit=tokens scale=10;
    sluice_limit_zone $arg_k zone=bytes:64k window=1h unit=bytes;
    sluice_key_pool one { key sk-one id=one limit=1/2s; }
    server {
        listen 127.0.0.1:%(port)d;
        root %(dir)s;
        location = /one { sluice_limit zone=rps limit=4; try_files /t =404; }
        location = /look-one {
            sluice_limit zone=rps limit=4 weight=$zero;
            try_files /t =404;
        }
        location = /single { sluice_limit zone=rps limit=1; try_files /t =404; }
        location = /two {
            sluice_limit zone=rps limit=2;
            sluice_limit zone=tps limit=40 weight=$arg_w;
            try_files /t =404;
        }
        location = /key {
            sluice_key one;
            sluice_limit zone=tps limit=40 weight=$arg_w;
            proxy_set_header Authorization $sluice_key;
            proxy_pass http://127.0.0.1:%(port)d/t;
        }
        location = /404 {
            sluice_limit zone=tps limit=90 weight=$arg_w settle=$arg_used;
            try_files /none =404;
        }
        location = /502 {
            sluice_error_format openai;
            sluice_limit zone=rps limit=9;
            sluice_limit zone=odd-1_B limit=20000;
            proxy_pass http://127.0.0.1:1;
        }
        location = /503 {
            sluice_error_format anthropic;
            sluice_limit zone=rps limit=2 status=503;
            try_files /t =404;
        }
        location = /dry {
            sluice_limit zone=rps limit=1 dry_run;
            sluice_limit zone=tps limit=90 weight=3;
            try_files /t =404;
        }
        location = /hour {
            sluice_limit zone=hour limit=30 weight=$arg_w;
            try_files /t =404;
        }
        location = /openai {
            sluice_error_format openai;
            sluice_limit zone=minute limit=50;
            sluice_limit zone=hour limit=10000;
            sluice_limit zone=day limit=900000 weight=$arg_w;
            try_files /t =404;
        }
        location = /openai-short {
            sluice_error_format openai;
            sluice_limit zone=rps limit=500;
            try_files /t =404;
        }
        location = /anthropic {
            sluice_error_format anthropic;
            sluice_limit zone=minute limit=50;
            sluice_limit zone=hour limit=10000;
            sluice_limit zone=day limit=900000 weight=$arg_w;
            try_files /t =404;
        }
        location = /bytes {
            sluice_limit zone=bytes limit=1000000;
            try_files /t =404;
        }
        location = /look-bytes {
            sluice_limit zone=bytes limit=1000000 weight=$zero settle=$zero;
            try_files /t =404;
        }
    }
}
"""

WINDOW = {"rps": 2, "tps": 3, "odd-1_B": 1.5, "minute": 61, "hour": 3600,
          "day": 86400, "bytes": 3600}
UNITS = {"tps": "tokens", "day": "tokens", "odd-1_B": "content-bytes",
         "bytes": "content-bytes"}

random.seed(65)


class Malformed(Exception):
    """Not what RFC 9651 allows."""


def parse_list(text):
    """A List of Strings with Integer or String parameters, RFC 9651, 4.2.

    Returns [(string, {parameter: value})]; what else the grammar has (inner
    lists, tokens, bytes, dates) has no place in these fields.
    """
    members = []
    rest = text.strip(" ")

    def string():
        nonlocal rest
        found = re.match(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"',
                         rest)
        if not found:
            raise Malformed("no string at %r in %r" % (rest, text))
        rest = rest[found.end():]
        return re.sub(r"\\(.)", r"\1", found[1])

    def integer():
        nonlocal rest
        found = re.match(r"-?[0-9]+", rest)
        if not found or len(found[0].lstrip("-")) > 15:
            raise Malformed("no integer at %r in %r" % (rest, text))
        rest = rest[found.end():]
        if rest.startswith("."):
            raise Malformed("a decimal in %r" % text)
        return int(found[0])

    while True:
        item = string()
        parameters = {}

        while rest.startswith(";"):
            rest = rest[1:].lstrip(" ")
            key = re.match(r"[a-z*][a-z0-9_\-.*]*", rest)
            if not key or key[0] in parameters:
                raise Malformed("bad parameter at %r in %r" % (rest, text))
            rest = rest[key.end():]
            if not rest.startswith("="):
                raise Malformed("a boolean in %r" % text)
            rest = rest[1:]
            parameters[key[0]] = (string() if rest.startswith('"')
                                  else integer())

        members.append((item, parameters))
        rest = rest.lstrip(" \t")

        if not rest:
            return members

        if not rest.startswith(","):
            raise Malformed("no comma at %r in %r" % (rest, text))

        rest = rest[1:].lstrip(" \t")
        if not rest:
            raise Malformed("a comma ends %r" % text)


def duration(ms):
    """As Go's Duration.String() writes it."""
    if ms < 1000:
        return "%dms" % ms if ms else "0s"

    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = "%d" % seconds + (".%03d" % ms).rstrip("0") * bool(ms) + "s"

    if hours or minutes:
        text = "%dm" % minutes + text

    return "%dh" % hours * bool(hours) + text


def parse_duration(text):
    """Milliseconds of what duration() writes, and of nothing else."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)(?:\.(\d+))?s)"
                         r"|(\d+)ms", text)
    if not found:
        raise Malformed("no duration: %r" % text)

    hours, minutes, seconds, part, ms = found.groups()
    total = (int(ms) if ms else
             ((int(hours or 0) * 60 + int(minutes or 0)) * 60
              + int(seconds)) * 1000 + int((part or "0").ljust(3, "0")))

    if duration(total) != text:
        raise Malformed("%r is written %r" % (text, duration(total)))

    return total


class Answer:
    """One answer, and between which moments of the clock it was decided."""

    def __init__(self, head, body, sent, got):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = [line.split(": ", 1) for line in lines[1:]]
        self.body = body
        self.sent = sent
        self.got = got

    def get(self, name):
        values = [value for key, value in self.fields
                  if key.lower() == name.lower()]
        if len(values) > 1:
            raise Malformed("%s stands there %d times" % (name, len(values)))
        return values[0] if values else None

    def quotas(self):
        """[(name, q, w, qu, r, t)], of both fields; checks all of them.

        t is None where there is none: all is left, or nothing ever will be,
        or there is a Retry-After before it.
        """
        retry = self.get("Retry-After")
        policy = parse_list(self.get("RateLimit-Policy"))
        limit = parse_list(self.get("RateLimit"))

        if [name for name, _ in policy] != [name for name, _ in limit]:
            raise Malformed("%r and %r" % (policy, limit))

        quotas = []

        for (name, p), (_, l) in zip(policy, limit):
            if set(p) - {"qu"} != {"q", "w"} or set(l) - {"t"} != {"r"}:
                raise Malformed("%r and %r" % (p, l))
            if p.get("qu") != UNITS.get(name):
                raise Malformed("%s has qu=%r" % (name, p.get("qu")))
            if p["w"] != -(-WINDOW[name] // 1):
                raise Malformed("%s has w=%r" % (name, p["w"]))
            if not 0 <= l["r"] <= p["q"]:
                raise Malformed("r=%d of q=%d" % (l["r"], p["q"]))
            t = l.get("t")
            if t is None and l["r"] < p["q"] and retry is None:
                raise Malformed("r=%d of q=%d, and no t" % (l["r"], p["q"]))
            if t is not None and (l["r"] == p["q"]
                                  or not 1 <= t <= -(-2 * WINDOW[name] // 1)
                                  or retry is not None and t > int(retry)):
                raise Malformed("%s has t=%d, r=%d of q=%d, Retry-After %s"
                                % (name, t, l["r"], p["q"], retry))
            quotas.append((name, p["q"], p["w"], p.get("qu"), l["r"], t))

        return quotas

    def left(self):
        """r and t of the only limit there is."""
        (_, _, _, _, r, t), = self.quotas()

        return r, t


class Client:
    """A connection; requests may be sent several at once."""

    def __init__(self):
        self.sock = socket.create_connection(("127.0.0.1", PORT), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def ask(self, *paths, method="GET"):
        text = b"".join(b"%s %s HTTP/1.1\r\nHost: l\r\n\r\n"
                        % (method.encode(), path.encode()) for path in paths)
        self.out = len(text)
        self.into = 0
        sent = time.monotonic()
        self.sock.sendall(text)

        answers = [self.answer(sent, method == "HEAD") for _ in paths]
        return answers if len(paths) > 1 else answers[0]

    def answer(self, sent, headless):
        while b"\r\n\r\n" not in self.buffer:
            self.read()

        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
        length = 0 if headless else length

        while len(self.buffer) < length:
            self.read()

        body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.into += len(head) + 4 + length

        return Answer(head, body, sent, time.monotonic())

    def read(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("closed")
        self.buffer += data


def sleep_until(moment):
    time.sleep(max(0, moment - time.monotonic()))


def reset_fits(answer, name, ms):
    """Whether it is the milliseconds until nothing counts.

    What was charged in this window counts for all of the next one.  (The
    clock of the module is the one that Python calls monotonic.)
    """
    window = int(WINDOW[name] * 1000)
    first = int(answer.sent * 1000)
    last = int(answer.got * 1000) + 1

    return any(ms == 2 * window - now % window
               for now in range(first, last + 1))


def in_parallel(function, n=CLIENTS):
    """What function(0), function(1), ... return, or the first error."""
    results = [None] * n

    def run(i):
        try:
            results[i] = function(i)
        except Exception as error:                  # told by the caller
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for result in results:
        if isinstance(result, Exception):
            raise result

    return results


def traffic(i):
    """Random requests: every answer must have fields that parse."""
    rng = random.Random(i)
    client = Client()
    seen = {}
    end = time.monotonic() + SECONDS

    while time.monotonic() < end:
        kind = rng.choice(["/one", "/two", "/404", "/502", "/503", "/dry",
                           "/hour", "/openai", "/anthropic", "/bytes"])
        path = "%s?k=%d&w=%d&used=%d" % (kind, rng.randrange(6),
                                         rng.randrange(25), rng.randrange(40))
        answer = client.ask(path, method=rng.choice(["GET", "GET", "HEAD"]))
        quotas = answer.quotas()
        names = [quota[0] for quota in quotas]

        if names != {"/one": ["rps"], "/two": ["rps", "tps"],
                     "/404": ["tps"], "/502": ["rps", "odd-1_B"],
                     "/503": ["rps"], "/dry": ["tps"], "/hour": ["hour"],
                     "/openai": ["minute", "hour", "day"],
                     "/anthropic": ["minute", "hour", "day"],
                     "/bytes": ["bytes"]}[kind]:
            raise Malformed("%s has %r" % (path, names))

        if answer.status < 400:
            seen["least"] = min(seen.get("least", 99),
                                *[q[4] for q in quotas])

        # who is refused has somebody to wait for
        refused = answer.status in (429, 503)
        if refused != (answer.get("Retry-After") is not None):
            raise Malformed("%s %d Retry-After %r" % (
                path, answer.status, answer.get("Retry-After")))

        seen[answer.status] = seen.get(answer.status, 0) + 1
        if rng.random() < 0.2:
            time.sleep(rng.random() * 0.3)

    return seen


def bursts(i):
    """As many as are left pass at once; the next one hardly ever does."""
    rng = random.Random(100 + i)
    client = Client()
    short = more = 0

    for n in range(BURSTS // CLIENTS):
        key = "b%d-%d" % (i, n % 2)
        left, _ = client.ask("/one?k=" + key).left()
        time.sleep(rng.random() * 0.01)
        got = client.ask(*["/one?k=" + key] * (left + 2))
        passed = sum(answer.status == 200 for answer in got)
        short += passed < left
        more += passed > left
        time.sleep(rng.random() * 1.7)

    return short, more


def exactly(i):
    """In a window of an hour nothing slides meanwhile: not one more."""
    client = Client()
    wrong = []

    for n in range(10):
        key = "e%d-%d" % (i, n)
        used = 0

        for weight in random.Random(n).sample(range(1, 9), 3):
            answer = client.ask("/hour?k=%s&w=%d" % (key, weight))
            used += weight
            if answer.left()[0] != 30 - used:
                wrong.append((used, answer.left()))

        left = answer.left()[0]
        got = client.ask("/hour?k=%s&w=%d" % (key, left + 1),
                         *["/hour?k=%s&w=1" % key] * (left + 1))
        if ([a.status for a in got] != [429] + [200] * left + [429]
                or [a.left()[0] for a in got]
                != [left, *range(left - 1, -1, -1), 0]):
            wrong.append([(a.status, a.left()) for a in got])

    return wrong


def resets(i):
    """After t seconds more is left, and t is the first such second."""
    rng = random.Random(200 + i)
    client = Client()
    wrong = []
    sooner = 0

    for n in range(WAITS):
        path = "?k=r%d&w=1" % i
        for _ in range(rng.randrange(1, 6)):
            answer = client.ask("/one" + path)
        r, t = answer.left()

        if t is None:
            wrong.append(("no t", r, answer.status))
            continue

        if t > 1:
            sleep_until(answer.sent + t - 1 - 0.03)
            early = client.ask("/look-one" + path)

            # a busy machine may have made it late
            if early.got < answer.sent + t - 1:
                sooner += 1
                if early.left()[0] > r:
                    wrong.append(("more sooner", r, t, early.left()))

        sleep_until(answer.got + t)
        late = client.ask("/look-one" + path)
        if late.left()[0] <= r:
            wrong.append(("not more at it", r, t, late.left()))
        time.sleep(rng.random())

    return wrong, sooner


def retries(paths):
    """Retry-After, for the very request that was refused."""
    def run(i):
        rng = random.Random(300 + i)
        client = Client()
        wrong = []
        tried = sooner = 0

        while tried < WAITS:
            path = rng.choice(paths) % ("t%d" % i, rng.randrange(1, 41))
            answer = client.ask(path)

            if answer.status == 200:
                time.sleep(rng.random() * 0.05)
                continue

            tried += 1
            wait = int(answer.get("Retry-After"))

            if wait > 1:
                sleep_until(answer.sent + wait - 1 - 0.03)
                early = client.ask(path)

                # a busy machine may have made it late
                if early.got < answer.sent + wait - 1:
                    sooner += 1
                    if early.status == 200:
                        wrong.append(("passes sooner", path, wait))
                        continue

            sleep_until(answer.got + wait)
            late = client.ask(path)
            if late.status != 200:
                wrong.append(("refused at it", path, wait,
                              late.get("Retry-After")))

        return wrong, sooner

    return run


def dialects(i):
    """The clients' own headers agree with RateLimit; all is left at reset."""
    rng = random.Random(400 + i)
    client = Client()
    wrong = []

    for n in range(150):
        kind = rng.choice(["/openai", "/openai-short", "/anthropic"])
        answer = client.ask("%s?k=%s&w=%d" % (
            kind, rng.choice(["d1", "d2", "d3-%d" % n]), rng.randrange(1, 30)))
        quotas = answer.quotas()

        for unit, qu in ("requests", None), ("tokens", "tokens"):
            mine = [quota for quota in quotas if quota[3] == qu]
            name = ("anthropic-ratelimit-%s-%%s" % unit
                    if kind == "/anthropic" else "x-ratelimit-%%s-%s" % unit)
            limit, remaining, reset = (answer.get(name % what) for what in
                                       ("limit", "remaining", "reset"))

            if not mine:
                if (limit, remaining, reset) != (None, None, None):
                    wrong.append((kind, unit, limit))
                continue

            zone, q, _, _, r, t = min(mine, key=lambda quota: quota[4])

            if kind == "/anthropic":
                moment = datetime.strptime(reset, "%Y-%m-%dT%H:%M:%SZ")
                ahead = (moment.replace(tzinfo=timezone.utc).timestamp()
                         - time.time())
                fits = ahead >= (t or 1) - 1.2
            else:
                ms = parse_duration(reset)
                ahead = ms / 1000
                fits = t is None or t <= -(-ms // 1000)

            if answer.status == 200:
                if kind == "/anthropic":
                    window = WINDOW[zone]
                    full = 2 * window - answer.got % window
                    fits = fits and full - 0.2 <= ahead <= full + 1.2
                else:
                    fits = fits and reset_fits(answer, zone, ms)

            if (int(limit), int(remaining)) != (q, r) or not fits:
                wrong.append((kind, unit, limit, remaining, reset, quotas))

    return wrong


def bytes_exactly():
    """A limit of bytes has what the socket has, both ways."""
    client = Client()
    total = 0
    wrong = []

    for n in range(1, 10):
        client.ask(*["/bytes?k=exact&n=" + "n" * (n * 100)] * n)
        total += client.out + client.into
        left = client.ask("/look-bytes?k=exact").left()[0]
        if left != 1000000 - total:
            wrong.append((n, total, 1000000 - left))

    return wrong


for text, ms in (("0s", 0), ("1ms", 1), ("999ms", 999), ("1s", 1000),
                 ("1.5s", 1500), ("6m0s", 360000), ("1m0.05s", 60050),
                 ("1h0m0s", 3600000), ("48h0m0.001s", 172800001)):
    assert (duration(ms), parse_duration(text)) == (text, ms), text

for text in ('"a";q=1;w=2,', '"a";q=1 "b"', 'a;q=1', '"a";q=1;q=2', '"a";Q=1',
             '"a";q=1234567890123456', '"a";q=1.5', '"a;q=1', ''):
    try:
        parse_list(text)
    except Malformed:
        continue
    assert False, text

DIR = tempfile.mkdtemp(prefix="sluice-headers.", dir="/dev/shm")
os.chmod(DIR, 0o755)
PORT = ports.free_port()

with open(os.path.join(DIR, "t"), "w") as file:
    file.write("ok\n" * 100)

with Nginx(DIR, CONF % {"dir": DIR, "port": PORT}, ready=PORT, binary=BINARY,
           user="www-data" if os.getuid() == 0 else None,
           modules=[MODULE] if MODULE else [], log_level="crit"):

    seen = in_parallel(traffic)
    counts = {status: sum(one.get(status, 0) for one in seen)
              for status in (200, 404, 429, 502, 503)}
    tap.note("random traffic: %s" % counts)
    tap.ok(all(counts.values()), "every answer has both fields, and they parse")
    tap.is_(min(one["least"] for one in seen), 0, "down to the last one")

    tap.is_(sum(in_parallel(exactly), []), [],
            "as many as are left pass, and the next is refused")

    short, more = (sum(column) for column in zip(*in_parallel(bursts)))
    tap.note("%d bursts, %d with one more" % (BURSTS // CLIENTS * CLIENTS,
                                              more))
    tap.is_(short, 0, "in a sliding window as many pass at least")
    tap.ok(more <= BURSTS / 6, "and more only if it slid meanwhile")

    results = in_parallel(resets)
    sooner = sum(n for _, n in results)
    tap.is_(sum((wrong for wrong, _ in results), []), [],
            "t is the first second after which more is left")
    tap.ok(sooner > 0, "%d looks came a second sooner" % sooner)

    for what, paths, clients in (
            ("one limit", ["/single?k=%s&w=%d", "/one?k=%s&w=%d"], CLIENTS),
            ("several limits, weights", ["/two?k=%s&w=%d"], CLIENTS),
            ("limits shared by locations",
             ["/one?k=%s&w=%d", "/two?k=%s&w=%d"], CLIENTS),
            ("a key and a limit", ["/key?k=%s&w=%d"], 1)):
        results = in_parallel(retries(paths), clients)
        sooner = sum(n for _, n in results)
        tap.is_(sum((wrong for wrong, _ in results), []), [],
                "Retry-After is the first second that passes: " + what)
        tap.ok(sooner > 0, "%d requests came a second sooner" % sooner)

    tap.is_(sum(in_parallel(dialects, 4), []), [],
            "the clients' own headers say the same")
    tap.is_(bytes_exactly(), [], "bytes are those of the socket")

shutil.rmtree(DIR, ignore_errors=True)
tap.done()
