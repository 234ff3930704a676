"""sluicectl whose answer cannot be written says so and exits with 1: who reads
its status must not take half of an answer, or none, for all of it.  So does
sluiced, of its version and its help."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.lanes import Lanes                  # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

# with one lane the answer fits in a buffer, with so many it does not
MANY = 64


def answer(*command, stdout):
    run = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE,
                         text=True, timeout=10)

    return run.returncode, run.stderr


def check(files, *words, program="sluicectl"):
    command = (os.path.join(BUILD, program), "--dir", files, *words)
    name = " ".join((program, *words))
    code, said = answer(*command, stdout=subprocess.DEVNULL)
    tap.is_(code, 0, "%s: exits with 0" % name) or tap.note(said)

    with open("/dev/full", "w") as full:
        code, said = answer(*command, stdout=full)
    tap.is_((code, "No space left on device" in said), (1, True),
            "%s: full: exits with 1 and says why" % name) or tap.note(said)

    # as a shell's ">&-": no standard output at all

    code, said = answer("sh", "-c", 'exec "$@" >&-', "sh", *command,
                        stdout=None)
    tap.is_((code, "Bad file descriptor" in said), (1, True),
            "%s: closed: exits with 1 and says why" % name) or tap.note(said)


with tempfile.TemporaryDirectory(prefix="sluice-ctl.") as dir:
    for count in 1, MANY:
        with Lanes(dir, "files%d" % count) as lanes:
            tap.note("%d lanes" % count)
            lanes.fill(count, lanes=count, ring=65536, entries=4, open=1)
            for words in ("status",), ("--json", "status"), ("requests",), \
                    ("--json", "requests"), ("keys",), ("--help",), \
                    ("--version",):
                check(lanes.files, *words)

    for word in "--help", "--version":
        check(dir, word, program="sluiced")

tap.done()
