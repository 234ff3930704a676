"""`make run ONCE=1` does what the README says, and leaves nothing behind."""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.stack import BUILD, ROOT            # noqa: E402


def left():
    """What a demo would leave: folders, shared files, processes."""
    processes = [name for name in glob.glob("/proc/[0-9]*/cmdline")
                 if b"sluice-run." in _read(name)]

    return set(glob.glob("/tmp/sluice-run.*") + processes
               + glob.glob("/dev/shm/sluice-run.*"))


def _read(name):
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError:
        return b""


before = left()
run = subprocess.run([sys.executable, "-B", ROOT + "/conf.examples/demo.py",
                      "--once", "--build", BUILD],
                     capture_output=True, text=True, timeout=120)
out = run.stdout

if not tap.is_(run.returncode, 0, "it ends with 0"):
    tap.note(out + run.stderr)

last = re.fullmatch(r"answered=(\d+) recorded=(\d+) refused=(\d+)",
                    out.rstrip().splitlines()[-1])
tap.ok(last, "the last line has the numbers")
numbers = [int(n) for n in last.groups()] if last else [0, 0, 0]
tap.ok(numbers[0] > 0 and numbers[0] == numbers[1],
       "all that was answered is recorded")
tap.ok(numbers[2] > 0, "some were refused")

for what in "HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests", \
        "Retry-After: ", '"request_id": ', "sluicectl status":
    tap.ok(what in out, "shows %s" % what)

tap.is_(left() - before, set(), "leaves nothing behind")
tap.done()
