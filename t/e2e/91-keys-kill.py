"""What keys hold and are over kills, reloads, upgrades and restarts: a killed
worker's places are free again within a second, a state is reverted by nobody,
and a key that is tried out is tried by one request at a time."""

import asyncio
import os
import resource
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import pools, ports, tap            # noqa: E402
from sluicetest.keyed import ask, Say, Upstream     # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.stack import BINARY, MODULE         # noqa: E402

PLACES = 250                    # of each of four keys
IN_FLIGHT = 4 * PLACES

CONF = """
worker_processes %(workers)d;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    access_log off;
    sluice_dir %(files)s;
    sluice_ring 16m;
    sluice_key_pool places {
        key places-a id=a max_conns=250;
        key places-b id=b max_conns=250;
        key places-c id=c max_conns=250;
        key places-d id=d max_conns=250;
    }
    sluice_key_pool few {
        key few-a id=a max_conns=3;
        key few-b id=b max_conns=2;
    }
    sluice_key_pool states {
        disable 401 after=1;
        breaker errors=1 open=10m;
        balance round_robin;
        %(states)s
    }
    sluice_key_pool old { disable 401 after=1; key old-a id=a; }
    sluice_key_pool probe {
        breaker errors=1 open=1s max=1s probe=60s;
        key probe-a id=a;
    }
    server {
        listen 127.0.0.1:%(port)d reuseport;
        sluice_usage on refused=off;
        sluice_usage_field n $http_x_n;
        sluice_key_tries 8;
        sluice_key_next http_401 http_402 http_429 http_500;
        proxy_set_header Authorization "Bearer $sluice_key";
        proxy_set_header X-Key-Id $sluice_key_id;
        proxy_read_timeout 60s;
        location /places { sluice_key places; proxy_pass %(api)s/; }
        location /hold { sluice_key places; proxy_pass %(api)s; }
        location /few { sluice_key few wait=10s; proxy_pass %(api)s/; }
        location /states { sluice_key states; proxy_pass %(api)s/; }
        location /old { sluice_key old; proxy_pass %(api)s/; }
        location /hold-old { sluice_key old; proxy_pass %(api)s; }
        location /probe { sluice_key probe; proxy_pass %(api)s/; }
        location /hold-probe { sluice_key probe; proxy_pass %(api)s; }
    }
}
"""

STATES = ["key states-%s id=%s;" % (id, id) for id in "abcde"]

SCRIPT = {
    **{"places-" + id: [Say(200)] for id in "abcd"},
    **{"few-" + id: [Say(200, after=0.005)] for id in "ab"},
    "states-a": [Say(429, "Retry-After: 500")],
    "states-b": [Say(401)],
    "states-c": [Say(402)],
    "states-d": [Say(500)],
    "states-e": [Say(200)],
    "old-a": [Say(200), Say(401)],
    "probe-a": [Say(500), Say(500), Say(500), Say(200)],
}

WANTED = {"a": "cooling", "b": "disabled", "c": "exhausted", "d": "cooling",
          "e": "healthy"}


def in_flight():
    return pools.in_flight(values["files"])


def states():
    """{id: (state, when it ends)}"""
    now = time.monotonic()

    return {id: (row["state"], now + (row.get("until_s") or 0)
                 if row["state"] not in ("healthy", "disabled") else 0)
            for (pool, id), row in pools.members(values["files"]).items()
            if pool == "states"}


def other(now, before):
    """Those that are not as they were; a second is a display's rounding."""
    return {id: (now[id], before[id]) for id in before
            if now[id][0] != before[id][0]
            or abs(now[id][1] - before[id][1]) > 1.5}


async def held(port, path, count, first=1):
    """So many requests, which wait at the upstream."""
    before = sum(upstream.held.values())
    tasks = [asyncio.ensure_future(ask(port, path, first + i))
             for i in range(count)]

    for _ in range(200):
        left = [i for i, task in enumerate(tasks) if task.done()]
        if sum(upstream.held.values()) - before + len(left) >= count:
            break
        await asyncio.sleep(0.05)

    # of rivals for the last place none may get it: one at a time they do

    for i in left:
        waiting = sum(upstream.held.values())
        tasks[i] = asyncio.ensure_future(ask(port, path, first + i))
        while not tasks[i].done() and sum(upstream.held.values()) == waiting:
            await asyncio.sleep(0.01)

    return tasks


async def status(port, path):
    return (await ask(port, path)).status


async def places(nginx, port):
    """A killed worker's places."""
    tasks = await held(port, "/hold", IN_FLIGHT)
    tap.is_((sum(upstream.held.values()), in_flight()), (IN_FLIGHT,) * 2,
            "%d requests are in flight" % IN_FLIGHT)
    tap.is_({key: upstream.held[key] for key in SCRIPT if "places" in key},
            {"places-" + id: PLACES for id in "abcd"}, "no key has more")
    tap.is_(await status(port, "/places"), 503, "and all places are taken")

    # one of two: what the other one has stays

    os.kill(nginx.workers()[0], signal.SIGKILL)
    killed = time.monotonic()
    got = 0
    while got != 200 and time.monotonic() - killed < 5:
        got = await status(port, "/places")
    took = time.monotonic() - killed
    tap.is_((got, took < 1.2), (200, True),
            "places are free %.2f s after the kill" % took)
    await asyncio.sleep(0.5)
    left = sum(not task.done() for task in tasks)
    tap.ok(0 < left < IN_FLIGHT and in_flight() == left,
           "but for those of the other worker: %d" % left)

    for pid in nginx.workers():
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    while in_flight() and time.monotonic() - killed < 5:
        await asyncio.sleep(0.02)
    took = time.monotonic() - killed
    tap.ok(took < 1.5, "nor those of both: %.2f s" % took)
    tap.is_({task.result().status for task in
             (await asyncio.wait(tasks, timeout=10))[0]}, {0},
            "no such request was answered")

    # the places are all there again, and not one more

    await asyncio.sleep(0.5)
    tasks = await held(port, "/hold", IN_FLIGHT, IN_FLIGHT + 1)
    tap.is_([await status(port, "/hold") for _ in range(5)], [503] * 5,
            "as many as before, and not one more")
    upstream.open.set()
    tap.is_({(await task).status for task in tasks}, {200},
            "all of them are answered")
    upstream.open.clear()


async def few(nginx, port):
    """Many clients for five places, over two workers."""
    got = await asyncio.gather(*(status(port, "/few") for _ in range(400)))
    tap.is_(set(got), {200}, "who waits for a place gets one")
    tap.is_((upstream.most["few-a"], upstream.most["few-b"]), (3, 2),
            "and never are more taken than there are")


async def kept(nginx, port):
    """States over everything that an operator does."""
    for _ in range(8):
        await ask(port, "/states")
    before = states()
    tap.is_({id: state for id, (state, _) in before.items()}, WANTED,
            "a key of each state")
    used = dict(upstream.used)

    async def same(what):
        got = [await status(port, "/states") for _ in range(10)]
        now = states()
        tap.is_(other(now, before), {}, "states are kept: " + what)
        tap.is_(got, [200] * 10, "and requests go to the one that is well")

    await asyncio.to_thread(nginx.reload)
    await same("reload")
    old = await asyncio.to_thread(nginx.upgrade)
    await same("upgrade")
    await asyncio.to_thread(nginx.finish_upgrade, old)
    await same("the old one has gone")
    await asyncio.to_thread(nginx.stop)
    await asyncio.to_thread(nginx.start)
    await same("restart")
    await asyncio.to_thread(nginx.kill_all)
    await asyncio.to_thread(nginx.start)
    await same("all killed")

    # other keys: the states of those that stay are theirs

    nginx.configure(CONF % {**values, "states": " ".join(
        ["key states-f id=f backup;"] + STATES[:0:-1])})
    await asyncio.to_thread(nginx.reload)
    await asyncio.sleep(0.3)
    got = [await status(port, "/states") for _ in range(10)]
    now = states()
    tap.is_(other(now, {id: before[id] for id in "bcde"}), {},
            "a reload that reorders, adds and removes")
    tap.is_(got, [200] * 10, "and requests go on")
    nginx.configure(CONF % values)
    await asyncio.to_thread(nginx.reload)
    await same("and the one that was removed has its own again")

    tap.is_({key: upstream.used[key] - used[key] for key in used
             if key.startswith("states") and key != "states-e"},
            {"states-" + id: 0 for id in "abcd"},
            "none of them was asked meanwhile")

    # what an old worker has to tell comes too late

    task, = await held(port, "/hold-old", 1, 5001)
    await asyncio.to_thread(nginx.reload)
    tap.is_(await status(port, "/old"), 401, "revoked, after a reload")
    upstream.open.set()
    tap.is_((await task).status, 200, "a request of before succeeds")
    upstream.open.clear()
    await asyncio.sleep(0.1)
    tap.is_((pools.members(values["files"])["old", "a"]["state"],
             await status(port, "/old")), ("disabled", 503),
            "and does not bring the key back")


async def probes(nginx, port):
    """Half open: one at a time over both workers."""
    async def attack():
        """A hundred at once: how many were let through."""
        before = upstream.used["probe-a"]
        tasks = [asyncio.ensure_future(ask(port, "/hold-probe"))
                 for _ in range(100)]
        await asyncio.sleep(0.4)
        return tasks, upstream.used["probe-a"] - before

    tap.is_(await status(port, "/probe"), 500, "the breaker opens")
    tap.is_(await status(port, "/probe"), 503, "for a second")
    await asyncio.sleep(1.05)

    tasks, asked = await attack()
    tap.is_((asked, sum(task.done() for task in tasks)), (1, 99),
            "then one of a hundred is let through")
    upstream.open.set()
    await asyncio.gather(*tasks)
    upstream.open.clear()
    tap.is_(await status(port, "/probe"), 503, "it fails: open again")

    # the probe's worker dies: another, whatever its deadline

    await asyncio.sleep(1.05)
    tasks, asked = await attack()
    tap.is_(asked, 1, "one again")
    for pid in nginx.workers():
        os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.6)
    tasks, asked = await attack()
    tap.is_(asked, 1, "its worker was killed: another")
    upstream.open.set()
    got = [task.status for task in await asyncio.gather(*tasks)]
    tap.is_(got.count(200), 1, "which is well")
    got = await asyncio.gather(*(status(port, "/probe") for _ in range(50)))
    tap.is_(set(got), {200}, "and then all are let through")
    tap.is_(upstream.most["probe-a"] > 1, True, "at a time")


async def main(nginx, port):
    global upstream

    upstream = Upstream(SCRIPT)
    await upstream.listen(values["api_port"])

    for part in places, few, kept, probes:
        tap.note(part.__doc__)
        await part(nginx, port)

    await asyncio.sleep(0.7)
    tap.is_(in_flight(), 0, "nothing is in flight")
    upstream.close()


resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(
    resource.RLIMIT_NOFILE)[1]))

dir = tempfile.mkdtemp(prefix="sluice-keys-kill.")
os.chmod(dir, 0o755)
values = {"files": "/dev/shm/%s.files" % os.path.basename(dir), "workers": 2,
          "port": ports.free_port(), "api_port": ports.free_port(),
          "states": " ".join(STATES)}
values["api"] = "http://127.0.0.1:%d" % values["api_port"]
nginx = Nginx(os.path.join(dir, "nginx"), CONF % values, ready=values["port"],
              user="www-data" if os.getuid() == 0 else None, binary=BINARY,
              modules=[MODULE] if MODULE else [], log_level="notice")

try:
    with nginx:
        asyncio.run(main(nginx, values["port"]))
        nginx.stop()

    # what was in flight when its worker was killed is recorded as that

    found = {}
    for record in pools.records(values["files"], dir):
        n = int(record.get("fields", {}).get("n", 0))
        found.setdefault(n, []).append((record.get("aborted", False),
                                        record.get("key") is not None))
    killed = range(1, IN_FLIGHT + 1)
    tap.is_([(n, found.get(n)) for n in killed
             if found.get(n) != [(True, True)]][:3], [],
            "each request that was killed is recorded, with its key")
finally:
    shutil.rmtree(values["files"], ignore_errors=True)
    if not os.environ.get("SLUICE_KEEP"):
        shutil.rmtree(dir, ignore_errors=True)

tap.done()
