"""A quarantine on a full disk: what belongs into it waits, with a line that
says so, and nothing is lost by it: when there is room, each document that
MongoDB refuses for good, and each damaged range, is kept there once.  Killed
before the tail moves over them sluiced keeps them again: at least once."""

import json
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.disk import Disk, Unsupported       # noqa: E402
from sluicetest.lanes import Lanes, ids             # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

NO_SPACE = "No space left on device"
RECORDS = 1500              # of some 1.5 KB a letter
HEADER = 4096

# the same program, with its fault points
FAULTS = os.path.join(BUILD, "faults")


def told(sluiced, *words):
    return [line for line in sluiced.output().splitlines()
            if all(word in line for word in words)]


def check_letters(dir, disk, database):
    """All but the first record are duplicates, for an index of others."""
    usage = database.client()[database.name].usage
    usage.create_index("node", unique=True)
    letters = os.path.join(disk.path, "dead-letters.jsonl")

    with Lanes(dir, "letters") as lanes:
        lanes.fill(RECORDS)
        disk.fill(leave=700 << 10)      # some batches, a piece of the next
        sluiced = lanes.sluiced(
            "--once", "--batch-size", "200", "--writers", "2",
            "--quarantine", disk.path, "--database", database.name,
            env={"SLUICE_MONGODB_URI": database.uri})

        tap.ok(wait_for(lambda: told(sluiced, "the quarantine refuses",
                                     "dead-letters", NO_SPACE,
                                     "records wait"), 15),
               "letters: a full disk is told")
        tap.ok(sluiced.running and lanes.lag() > 0,
               "letters: their batches wait, and with them the lane")
        disk.free()
        tap.is_(sluiced.wait(30), 0, "letters: with room it goes on")
        tap.ok(told(sluiced, "the quarantine takes records again"),
               "letters: which is told")
        tap.is_(told(sluiced, "may stand in it twice"), [],
                "letters: what was written in part was cut off")

        with open(letters) as file:
            refused = [json.loads(line)["document"]["_id"] for line in file]

        there = [str(r["_id"]["seq"]) for r in usage.find({}, {"_id": 1})]
        seqs = there + [str(r["seq"]["$numberLong"] if isinstance(
            r["seq"], dict) else r["seq"]) for r in refused]
        tap.note("%d documents, %d letters" % (len(there), len(refused)))
        tap.is_((len(there), len(seqs), len(set(seqs))), (1, RECORDS, RECORDS),
                "letters: every record is there or in a letter, once")


def damage(path, records):
    """Changes a byte of so many records, not neighbours; how many it found."""
    with open(path, "r+b") as file:
        text = file.read()
        at = HEADER

        for _ in range(records):
            for _ in range(3):
                at = text.index(b"gateway.example.com", at) + 1
            file.seek(at)
            file.write(b"?")


def check_damaged(dir, disk):
    lines = os.path.join(dir, "usage.json")
    options = ("--sink", "file:" + lines, "--quarantine", disk.path)

    with Lanes(dir, "damaged") as lanes:
        hurt, = lanes.fill(100)
        damage(os.path.join(lanes.files, hurt), 5)
        good, = lanes.fill(100)

        disk.fill()
        sluiced = lanes.sluiced(*options)
        tap.ok(wait_for(lambda: told(sluiced, hurt, "waits", "damaged bytes",
                                     NO_SPACE), 15),
               "damage: a full disk is told")
        tap.ok(wait_for(lambda: good not in lanes.names(), 10),
               "damage: other lanes are drained meanwhile")
        tap.is_(lanes.names(), [hurt], "damage: the lane waits")
        sluiced.kill9()

        sluiced = lanes.sluiced(*options)
        wait_for(lambda: len(told(sluiced, hurt, "waits")) == 2, 10)
        disk.free()
        tap.ok(wait_for(lambda: not lanes.names(), 15),
               "damage: killed, started again and with room, it is drained")
        tap.ok(told(sluiced, "skipped", hurt, "kept in quarantine"),
               "damage: which is told")
        tap.is_(sluiced.stop(), 0, "damage: it ends in order")

        with open(os.path.join(disk.path, "damaged.jsonl")) as file:
            kept = [json.loads(line)["position"] for line in file]

        found = ids(lines)
        tap.is_((len(kept), len({str(one) for one in kept})), (5, 5),
                "damage: each range is kept, once")
        tap.is_((len(found), len(set(found))), (195, 195),
                "damage: every other record is in the file, once")


def kept_in(path, *names):
    """The lines of a quarantine's file, each as the text of those members."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]

    return [json.dumps([line[name] for name in names], sort_keys=True)
            for line in lines]


def check_killed(dir, database):
    """Once in the quarantine, and not yet behind the tail."""
    usage = database.client()[database.name + "_killed"].usage
    usage.create_index("node", unique=True)
    path = os.path.join(dir, "killed")
    options = ("--batch-size", "100", "--quarantine", path,
               "--database", usage.database.name)
    env = {"SLUICE_MONGODB_URI": database.uri}

    with Lanes(dir, "killed") as lanes:
        hurt, = lanes.fill(100)
        damage(os.path.join(lanes.files, hurt), 5)

        for point in "drain.copied:1", "drain.written:1":
            code, said = lanes.once(*options, build=FAULTS,
                                    env={**env, "SLUICE_FAULT": point})
            tap.is_(code, -signal.SIGKILL, "killed: at %s" % point) \
                or tap.note(said)

        code, said = lanes.once(*options, env=env)
        tap.is_((code, lanes.names()), (0, []), "killed: then it drains") \
            or tap.note(said)

        letters = kept_in(os.path.join(path, "dead-letters.jsonl"),
                          "document")
        ranges = kept_in(os.path.join(path, "damaged.jsonl"), "lane",
                         "position", "bytes")
        tap.note("%d letters, %d ranges" % (len(letters), len(ranges)))
        tap.is_((usage.count_documents({}), len(set(letters)),
                 len(set(ranges))), (1, 94, 5),
                "killed: each is kept, and what is kept again is the same")


with tempfile.TemporaryDirectory(prefix="sluice-quarantine.") as top:
    try:
        with Disk(os.path.join(top, "letters"), 8 << 20) as disk, \
                Database(os.path.join(top, "database")) as database:
            check_letters(top, disk, database)
            check_killed(top, database)

        with Disk(os.path.join(top, "damaged"), 1 << 20) as disk:
            check_damaged(top, disk)

    except Unsupported as why:
        tap.skip("a quarantine on a full disk", why)

tap.done()
