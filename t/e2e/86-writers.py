"""sluiced with several lanes and writers, ended in the midst of it by SIGTERM:
every record is there, once.  `make tsan` runs this again with a sluiced that
is built for ThreadSanitizer, and any report of that is a failure."""

import os
import re
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.lanes import Lanes, ids             # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD, ROOT            # noqa: E402

LANES, RECORDS, RATE, OPEN = 6, 6000, 4000, 3
WANTED = RECORDS + LANES * OPEN
SOME = 200000               # bytes of the 1.6 MB that they are

OPTIONS = ("--writers", "4", "--batch-size", "50", "--batch-time", "5ms",
           "--poll", "2ms")
TSAN = {"TSAN_OPTIONS": "suppressions=%s/sidecar/tsan.supp" % ROOT}


def check(dir, name, sink, env=None, before=None, after=None):
    """Two starts of sluiced on lanes that are being filled: the first is told
    to end while records come, the second when there are no more.  `before`
    and `after` the first is told, more may happen.
    """
    options = (*sink, *OPTIONS, "--quarantine", dir)

    with Lanes(dir, name) as lanes:
        feed = lanes.feed(RECORDS, lanes=LANES, rate=RATE, open=OPEN)
        wait_for(lambda: os.path.isdir(lanes.files), 5)

        sluiced = lanes.sluiced(*options, env={**TSAN, **(env or {})})
        tap.ok(wait_for(lambda: lanes.taken() > SOME, 30),
               "%s: it drains" % name)
        if before is not None:
            before(sluiced)
        sluiced.send(signal.SIGTERM)
        tap.ok(feed.running, "%s: records come still" % name)
        if after is not None:
            after(sluiced)
        tap.is_(sluiced.wait(60), 0, "%s: told to end, it drains what is there"
                " and ends" % name)

        tap.is_(feed.wait(60), 0, "%s: all have come" % name)
        sluiced = lanes.sluiced(*options, env={**TSAN, **(env or {})})
        tap.ok(wait_for(lambda: sluiced.output().count("draining \"") == 2
                        and not lanes.names(), 60),
               "%s: the next one drains the rest" % name)
        tap.is_(sluiced.stop(timeout=60), 0, "%s: and ends" % name)

        said = sluiced.output()
        if not tap.ok("ThreadSanitizer" not in said,
                      "%s: nothing of ThreadSanitizer" % name):
            tap.note(said[:30000])

        tap.is_(sum(map(int, re.findall(r"(\d+) written", said))), WANTED,
                "%s: both have written all of it" % name)


def is_once(found, name):
    tap.is_((len(found), len(set(found))), (WANTED, WANTED),
            "%s: every record is there, once" % name)


with tempfile.TemporaryDirectory(prefix="sluice-writers.") as dir, \
        Database(os.path.join(dir, "database")) as database:

    # without it `make tsan` would find nothing, and pass

    if "SLUICE_TSAN" in os.environ:
        with open(os.path.join(BUILD, "sluiced"), "rb") as program:
            tap.ok(b"__tsan_init" in program.read(),
                   "sluiced is built for ThreadSanitizer")

    check(dir, "null", ("--sink", "null:"))

    path = os.path.join(dir, "usage.json")
    check(dir, "file", ("--sink", "file:" + path),
          before=lambda sluiced: sluiced.send(signal.SIGHUP))
    is_once(ids(path), "file")

    # the server goes away before, and comes back after it was told

    def away(sluiced):
        if database.kind != "external":
            database.stop()

    def back(sluiced):
        if database.kind != "external":
            tap.ok(wait_for(lambda: "MongoDB is away" in sluiced.output(), 10),
                   "mongodb: told to end without a server it waits")
            database.start()

    soon = "serverSelectionTimeoutMS=500"
    check(dir, "mongodb", ("--database", database.name, "--retention", "1h"),
          env={"SLUICE_MONGODB_URI": database.uri
               + ("&" if "?" in database.uri else "?") + soon},
          before=away, after=back)
    is_once([str(record["_id"]) for record in
             database.client()[database.name].usage.find({}, {"_id": 1})],
            "mongodb")

tap.done()
