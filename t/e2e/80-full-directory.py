"""A full sluice_dir: nginx does not start, or goes on as it was, and says why;
nothing half-made is left.  A worker without room for its lane lets nothing
through unrecorded, says so once, and recovers by itself."""

import collections
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.disk import Disk, Unsupported       # noqa: E402
from sluicetest.nginx import Nginx                  # noqa: E402
from sluicetest.ports import free_port              # noqa: E402
from sluicetest.process import Failed, wait_for     # noqa: E402
from sluicetest.stack import BINARY, BUILD, MODULE  # noqa: E402

NO_SPACE = "No space left on device"
REFUSES = "worker has no slot or lane and refuses what needs one"
SIZE = 6 << 20
STEP = 64 << 10

answered = collections.Counter()

CONF = """
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    sluice_dir %(files)s;
    sluice_ring 512k open=16;
    sluice_limit_zone $arg_who zone=rpm:%(zone)s window=1h;
    sluice_key_pool keys { key sk-full id=a; }
    server {
        listen 127.0.0.1:%(api)d;
        location / { return 200 "ok"; }
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            sluice_client $arg_who;
            sluice_limit zone=rpm limit=3;
            sluice_key keys;
            sluice_usage on;
            proxy_set_header Authorization "Bearer $sluice_key";
            proxy_pass http://127.0.0.1:%(api)d;
        }
        location /plain { proxy_pass http://127.0.0.1:%(api)d; }
    }
}
"""


def ask(path):
    """A request's status, and whether it was refused for its record."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s"
                                    % (values["port"], path),
                                    timeout=5) as answer:
            code, refused = answer.status, False
    except urllib.error.HTTPError as error:
        code, refused = error.code, b"cannot be accounted" in error.read()

    answered["all"] += path != "/plain" and not refused

    return code, refused


def names():
    return sorted(os.listdir(files)) if os.path.isdir(files) else []


def status():
    run = subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir", files,
                          "--json", "status"], capture_output=True, text=True,
                         timeout=10)

    return json.loads(run.stdout)


def drain():
    """sluiced --once into a file; the _ids that it has by now."""
    lines = os.path.join(dir, "usage.json")
    run = subprocess.run([os.path.join(BUILD, "sluiced"), "--dir", files,
                          "--once", "--sink", "file:" + lines],
                         capture_output=True, text=True, timeout=30)

    if run.returncode != 0:
        tap.note(run.stderr)

    with open(lines) as file:
        return [str(json.loads(line)["_id"]) for line in file]


def check_start():
    """With more room each time, until nginx starts."""
    failed = collections.Counter()
    silent, left, unread = [], [], []

    for leave in range(0, SIZE, STEP):
        disk.fill(leave)
        try:
            nginx.start()
            break
        except Failed as told:
            said = str(told)

        found = [name for name in ("workers", "rpm", "keys", "client.secret")
                 if 'for "%s"' % name in said or "/%s" % name in said]
        failed[found[0] if found else "?"] += 1

        if "[emerg]" not in said or NO_SPACE not in said or not found:
            silent.append((leave, said))

        # these two are whole, and the next start needs them as they are
        left += [(leave, name) for name in names()
                 if name not in ("workers", "client.secret")]

        if "workers" in names():
            unread += status()["skipped"]

    tap.note("refused for want of room: %r" % dict(failed))
    tap.ok({"workers", "rpm", "keys"} <= set(failed),
           "without room for any one of its files nginx does not start")
    tap.is_(silent[:2], [], "and says which one, and why")
    tap.is_(left[:3], [], "nothing unfinished or unused is left behind")
    tap.is_(unread[:3], [], "what is left can be read")


def check_no_lane():
    """Room for the master's files, but none for the worker's lane."""
    lanes = [name for name in names() if name.startswith("lane.")]
    tap.is_(lanes, [], "there is no room for a lane")
    tap.is_(ask("/?who=a"), (503, True),
            "a request that needs a record is refused")
    tap.is_(ask("/plain"), (200, False), "one that needs none is not")

    time.sleep(1.2)         # two more tries
    said = nginx.errors()
    tap.is_((said.count(REFUSES), NO_SPACE in said), (1, True),
            "that is told once, with its reason")
    tap.ok(status()["totals"]["no_lane"] >= 3, "and counted each time")
    tap.is_([name for name in names() if name.startswith(".new.")], [],
            "tries leave nothing behind")

    disk.free()
    tap.ok(wait_for(lambda: ask("/?who=b")[0] == 200, 3),
           "with room it gets its lane by itself")
    tap.ok("worker has its slot and lane now" in nginx.errors(),
           "which is told")


def check_reload():
    before = names()
    workers = nginx.workers()
    disk.fill()
    nginx.configure(CONF % {**values, "zone": "2m"})

    try:
        nginx.reload()
        tap.ok(False, "a reload without room is refused")
    except Failed as told:
        tap.ok("refused" in str(told) and NO_SPACE in str(told),
               "a reload without room is refused")

    tap.is_(names(), before, "it leaves nothing behind")
    tap.is_(nginx.workers(), workers, "the old workers serve on")
    tap.is_([ask("/?who=b")[0] for _ in range(3)], [200, 200, 429],
            "by the old table")

    disk.free()
    nginx.reload()
    tap.ok("zone.rpm.2" in names(), "with room it goes through")
    tap.is_(ask("/?who=b")[0], 429, "and what was charged still counts")


def check_killed():
    """The lane of a killed worker takes the room that the next one needs."""
    tap.is_(ask("/?who=c")[0], 200, "a worker serves")

    disk.fill()
    nginx.kill_worker()
    tap.is_((nginx.errors().count(REFUSES), ask("/?who=c")), (2, (503, True)),
            "the next one has no room, and refuses")

    # sluiced removes the lane of the dead: that is the room

    before = answered["all"]
    recorded = drain()
    tap.is_((len(recorded), len(set(recorded))), (before, before),
            "what was answered until then is recorded, once")
    tap.ok(wait_for(lambda: ask("/?who=c")[0] == 200, 3),
           "with the dead one's lane drained and gone it serves")
    tap.is_(nginx.errors().count(REFUSES), 2, "that it refused was told once")


with tempfile.TemporaryDirectory(prefix="sluice-full.") as dir:
    os.chmod(dir, 0o755)

    try:
        disk = Disk(os.path.join(dir, "disk"), SIZE)
    except Unsupported as why:
        tap.skip("nginx on a full sluice_dir", why)
        tap.done()

    files = os.path.join(disk.path, "files")
    values = {"files": files, "zone": "1m", "port": free_port(),
              "api": free_port()}

    with disk:
        nginx = Nginx(os.path.join(dir, "nginx"), CONF % values,
                      binary=BINARY, modules=[MODULE] if MODULE else [],
                      ready=values["port"], log_level="notice",
                      user="www-data" if os.getuid() == 0 else None)
        try:
            check_start()
            check_no_lane()
            check_reload()
            check_killed()
        finally:
            nginx.stop()

tap.done()
