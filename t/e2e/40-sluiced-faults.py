"""sluiced is killed at each of its fault points: nothing is lost, nothing is
there twice, in a database as in a file; its workers' open entries neither."""

import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

POINTS = [("drain.copied", (1, 2, 5)), ("drain.written", (1, 2, 5)),
          ("drain.advanced", (1, 2, 5)), ("drain.recovered", (1, 2))]
LANES, RECORDS, OPEN = 2, 3000, 5

# the same program, with its fault points
FAULTY = os.path.join(BUILD, "faults", "sluiced")


def sluiced(program, files, sink, fault=None, **env):
    environment = {**os.environ, **env}
    if fault:
        environment["SLUICE_FAULT"] = fault

    run = subprocess.run([program, "--dir", files, "--once", "--batch-size",
                          "400", "--log-level", "warn"]
                         + (["--sink", sink] if sink else []),
                         env=environment, capture_output=True, text=True,
                         timeout=60)

    return run.returncode, run.stdout + run.stderr


def check(name, ids, aborted):
    wanted = RECORDS + LANES * OPEN

    return tap.is_((len(ids), len(set(ids)), aborted),
                   (wanted, wanted, LANES * OPEN), name)


def from_database(database, name):
    records = list(database.client()[name].usage.find(
        {}, {"aborted": 1}))

    return ([(r["_id"]["lane"], r["_id"]["seq"]) for r in records],
            sum(bool(r.get("aborted")) for r in records))


def from_file(path):
    with open(path) as file:
        records = [json.loads(line) for line in file]

    return ([json.dumps(r["_id"], sort_keys=True) for r in records],
            sum(bool(r.get("aborted")) for r in records))


with tempfile.TemporaryDirectory(prefix="sluice-faults.") as dir, \
        Database(os.path.join(dir, "database")) as database:

    run = 0

    for point, times in POINTS:
        for n in times:
            for kind in "mongodb", "file":
                run += 1
                fault = "%s:%d" % (point, n)
                name = "%s, killed at %s" % (kind, fault)
                files = "/dev/shm/%s.%d" % (os.path.basename(dir), run)
                target = "%s_%d" % (database.name, run)
                path = os.path.join(dir, "records.%d" % run)
                options = {"SLUICE_DATABASE": target,
                           "SLUICE_QUARANTINE": dir}
                sink = None

                if kind == "file":
                    sink = "file:" + path
                else:
                    options["SLUICE_MONGODB_URI"] = database.uri

                subprocess.run([os.path.join(BUILD, "producer"),
                                "dir=" + files, "lanes=%d" % LANES,
                                "records=%d" % RECORDS, "open=%d" % OPEN],
                               check=True, capture_output=True)

                code, said = sluiced(FAULTY, files, sink, fault, **options)
                tap.is_(code, -9, name)
                code, said = sluiced(FAULTY, files, sink, **options)

                if not tap.is_((code, [f for f in os.listdir(files)
                                       if f.startswith("lane.")]),
                               (0, []), "%s: the next run drains" % name):
                    tap.note(said)

                if kind == "file":
                    check("%s: each once" % name, *from_file(path))
                else:
                    check("%s: each once" % name,
                          *from_database(database, target))
                    database.client().drop_database(target)

                subprocess.run(["rm", "-rf", files], check=True)

tap.done()
