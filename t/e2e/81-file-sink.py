"""The file: sink on a full disk, and a file that is rotated under it: every
record is in the file, or in one of the files, once."""

import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.disk import Disk, Unsupported       # noqa: E402
from sluicetest.lanes import Lanes, ids             # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

NO_SPACE = "No space left on device"
RECORDS = 3000              # of some 800 bytes a line
ROTATED = 8000

# the same program, with its fault points
FAULTS = os.path.join(BUILD, "faults")


def is_once(found, wanted, name):
    return tap.is_((len(found), len(set(found))), (wanted, wanted), name)


def check_full(dir):
    """It waits, is killed while it waits, waits again, and goes on."""
    try:
        disk = Disk(os.path.join(dir, "disk"), 8 << 20)
    except Unsupported as why:
        tap.skip("the file: sink on a full disk", why)
        return

    path = os.path.join(disk.path, "usage.json")
    options = ("--sink", "file:" + path, "--batch-size", "500",
               "--drain-timeout", "1s")

    with disk, Lanes(dir, "full") as lanes:
        lanes.fill(RECORDS, lanes=2)
        disk.fill(leave=1 << 20)        # some batches, a piece of the next

        sluiced = lanes.sluiced(*options)
        tap.ok(wait_for(lambda: NO_SPACE in sluiced.output(), 10),
               "a full disk is told")
        told = [line for line in sluiced.output().splitlines()
                if NO_SPACE in line] or [""]
        tap.ok("refuses" in told[0] and path in told[0]
               and "records wait" in told[0],
               "with the name of the file, and that records wait")
        sluiced.kill9()

        written = len(ids(path))
        tap.ok(500 <= written < RECORDS and written % 500 == 0,
               "it has whole batches: %d records" % written)
        tap.ok(lanes.lag() > 0, "the rest is in the lanes")

        # without room even for where its last batch begins

        disk.fill()
        sluiced = lanes.sluiced(*options)
        tap.ok(wait_for(lambda: sluiced.output().count(NO_SPACE) >= 2, 10),
               "killed and started again it waits again")
        tap.is_(sluiced.stop(), 1, "stopped there, it exits with 1")
        tap.ok("not drained in time" in sluiced.output(), "and says why")
        is_once(ids(path), written, "nothing was written meanwhile")

        sluiced = lanes.sluiced(*options)
        wait_for(lambda: sluiced.output().count(NO_SPACE) >= 3, 10)
        disk.free()
        tap.ok(wait_for(lambda: not lanes.names(), 15),
               "with room it goes on") or tap.note(sluiced.tail())
        tap.ok("takes records again" in sluiced.output(), "which is told")
        tap.is_(sluiced.stop(), 0, "it ends in order")
        is_once(ids(path), RECORDS, "every record is in the file, once")


def check_rotated(dir):
    """Renamed while records come, with a signal or with a kill after it."""
    path = os.path.join(dir, "rotated.json")
    options = ("--sink", "file:" + path, "--batch-size", "100",
               "--batch-time", "10ms")
    sizes = []

    def renamed():
        """Moves the file away once it has lines; its new name."""
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path), 10)
        former = "%s.%d" % (path, len(sizes) + 1)
        os.rename(path, former)

        return former

    def reopened(former):
        seen = len(sizes) + 1
        done = wait_for(lambda: sluiced.output().count("was reopened")
                        >= seen, 10)
        sizes.append((former, os.path.getsize(former)))

        return done

    with Lanes(dir, "rotated") as lanes:
        feed = lanes.feed(ROTATED, rate=2000)
        wait_for(lambda: os.path.isdir(lanes.files), 5)
        sluiced = lanes.sluiced(*options)

        for _ in range(3):
            former = renamed()
            sluiced.send(signal.SIGHUP)
            tap.ok(reopened(former), "renamed and told, it takes a new file")

        # killed with a batch in the file that the lanes have as well

        sluiced.kill9()
        faulty = lanes.sluiced(*options, build=FAULTS,
                               env={"SLUICE_FAULT": "drain.written:5"})
        tap.is_(faulty.wait(10), -signal.SIGKILL, "killed, and then renamed")
        former = renamed()
        sluiced = lanes.sluiced(*options)
        tap.ok(reopened(former), "it ends the old file, then takes a new one")

        tap.ok(feed.running, "records came all the while")
        tap.is_(feed.wait(30), 0, "then no more")
        tap.ok(wait_for(lambda: not lanes.names(), 15), "it drains the rest")
        tap.is_(sluiced.stop(), 0, "and ends in order")

        files = [name for name, _ in sizes] + [path]
        tap.is_([(name, os.path.getsize(name)) for name in files[:-1]], sizes,
                "nothing is written to a former file any more")
        counts = [len(ids(name)) for name in files]
        tap.note("lines: %r" % counts)
        tap.ok(all(counts), "each file has lines")
        is_once(ids(*files), ROTATED,
                "every record is in one of them, once")


with tempfile.TemporaryDirectory(prefix="sluice-lines.") as top:
    check_full(top)
    check_rotated(top)

tap.done()
