"""Lanes that cannot be read: sluiced says which and why, drains the others,
leaves these as they are, and drains them when they can be read.  `--once`
tells it by its exit status as well."""

import os
import random
import shutil
import signal
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.lanes import Lanes, ids             # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

RECORDS = 200
NOBODY = {"user": 65534, "group": 0, "extra_groups": []}

random.seed(83)


def garbage(path):
    with open(path, "r+b") as file:
        file.write(random.randbytes(os.path.getsize(path)))


def cut(path):
    os.truncate(path, 100)


def emptied(path):
    os.truncate(path, 0)


def folder(path):
    os.unlink(path)
    os.mkdir(path)


def link(path):
    os.unlink(path)
    os.symlink("/etc/passwd", path)


def pipe(path):
    # who opens it to read waits for a writer, and for ever
    os.unlink(path)
    os.mkfifo(path)


def bound(path):
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


KINDS = garbage, cut, emptied, folder, link, pipe, bound


def lines(said, name):
    return [line for line in said.splitlines()
            if "skipped:" in line and name in line]


def is_once(path, wanted, name):
    found = ids(path) if os.path.exists(path) else []

    return tap.is_((len(found), len(set(found))), (wanted, wanted), name)


def check_kinds(dir):
    """All that may stand in the place of a lane, among two good ones."""
    path = os.path.join(dir, "kinds.json")

    with Lanes(dir, "kinds") as lanes:
        names = lanes.fill(RECORDS * (len(KINDS) + 2), lanes=len(KINDS) + 2)
        # good ones before and behind, in whichever order they are read
        names = random.sample(names, len(KINDS))
        for name, kind in zip(names, KINDS):
            kind(os.path.join(lanes.files, name))

        code, said = lanes.once("--sink", "file:" + path)
        tap.is_(code, 1, "--once with broken lanes exits with 1")
        tap.ok("%d lanes were skipped" % len(KINDS) in said,
               "and tells how many there are") or tap.note(said)
        for name, kind in zip(names, KINDS):
            if not tap.is_(len(lines(said, name)), 1, "%s: told, once"
                           % kind.__name__):
                tap.note(said)
        is_once(path, 2 * RECORDS, "the good ones are drained")
        tap.is_(lanes.names(), sorted(names), "the broken ones stay")

        code, said = lanes.once("--sink", "file:" + path)
        tap.is_(code, 1, "and so it is the next time")
        is_once(path, 2 * RECORDS, "with nothing written twice")


def check_good(dir):
    """What the other exit status means."""
    path = os.path.join(dir, "good.json")

    with Lanes(dir, "good") as lanes:
        lanes.fill(RECORDS)
        code, said = lanes.once("--sink", "file:" + path)
        tap.is_((code, lanes.names()), (0, []),
                "--once without broken ones exits with 0")
        is_once(path, RECORDS, "all is drained")


def check_broken_while_drained(dir):
    """Cut short under a reader that has it mapped: no SIGBUS, no loss of
    the others."""
    path = os.path.join(dir, "later.json")

    with Lanes(dir, "later") as lanes:
        feed = lanes.feed(RECORDS, linger=60)
        wait_for(lambda: os.path.isdir(lanes.files) and lanes.names(), 5)
        name, = lanes.names()
        sluiced = lanes.sluiced("--sink", "file:" + path)
        tap.ok(wait_for(lambda: "records" in feed.output()
                        and lanes.lag() == 0, 10), "a lane is drained")

        os.truncate(os.path.join(lanes.files, name), 4096)
        good, = lanes.fill(RECORDS)
        tap.ok(wait_for(lambda: good not in lanes.names(), 10),
               "when it is cut short the others are drained still")
        tap.is_(len(lines(sluiced.output(), name)), 1, "that is told, once")
        tap.is_(sluiced.stop(), 0, "and it ends in order")
        is_once(path, 2 * RECORDS, "every record is there, once")
        feed.kill9()


def check_rights(dir):
    if os.getuid() != 0:
        tap.skip("a lane that it has no rights on", "not root")
        return

    # programs and a folder that "nobody" can use, wherever the tree is

    faults = os.path.join(dir, "faults")
    path = os.path.join(dir, "rights", "usage.json")
    os.mkdir(faults)
    os.mkdir(os.path.dirname(path))
    os.chmod(os.path.dirname(path), 0o777)
    shutil.copy(os.path.join(BUILD, "sluiced"), dir)
    shutil.copy(os.path.join(BUILD, "faults", "sluiced"), faults)
    options = ("--sink", "file:" + path)

    with Lanes(dir, "rights") as lanes:
        closed, good = lanes.fill(2 * RECORDS, lanes=2)

        # what the file has of a closed lane must not be forgotten meanwhile

        code, said = lanes.once(*options, build=faults, **NOBODY,
                                env={"SLUICE_FAULT": "drain.written:1"})
        tap.is_(code, -signal.SIGKILL, "killed when all was in the file")
        is_once(path, 2 * RECORDS, "and nothing taken from the lanes")
        os.chmod(os.path.join(lanes.files, closed), 0)

        code, said = lanes.once(*options, build=dir, **NOBODY)
        tap.is_(code, 1, "--once without rights on a lane exits with 1")
        tap.ok(len(lines(said, closed)) == 1 and "Permission denied" in said,
               "and says why") or tap.note(said)
        tap.is_(lanes.names(), [closed], "the other one is drained")

        # now as a service, until the rights are given

        sluiced = lanes.sluiced(*options, build=dir, **NOBODY)
        tap.ok(wait_for(lambda: lines(sluiced.output(), closed), 5),
               "as a service it says so, too")
        other, = lanes.fill(RECORDS)
        tap.ok(wait_for(lambda: other not in lanes.names(), 10),
               "and drains what comes")
        os.chmod(os.path.join(lanes.files, closed), 0o660)
        tap.ok(wait_for(lambda: not lanes.names(), 10),
               "with the rights it drains that lane")
        tap.is_((len(lines(sluiced.output(), closed)),
                 "can be read now" in sluiced.output()), (1, True),
                "which is told")
        tap.is_(sluiced.stop(), 0, "it ends in order")
        is_once(path, 3 * RECORDS, "every record is there, once")


with tempfile.TemporaryDirectory(prefix="sluice-broken.") as top:
    os.chmod(top, 0o755)

    for check in (check_kinds, check_good, check_broken_while_drained,
                  check_rights):
        check(top)

tap.done()
