"""A sluiced that is killed leaves nothing in /dev/shm but what is Sluice's:
what stays there is memory that nobody gives back, a piece for each kill."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.lanes import Lanes                  # noqa: E402
from sluicetest.ports import free_port              # noqa: E402
from sluicetest.process import wait_for             # noqa: E402


def named(pid):
    """What there is with a process's number in its name."""
    return [name for name in os.listdir("/dev/shm") if str(pid) in
            name.replace(".", "-").split("-")]


with tempfile.TemporaryDirectory(prefix="sluice-left.") as dir:
    for kind, sink in (("null", "null:"), ("file", "file:%s/usage.json" % dir),
                       ("mongodb", "mongodb://127.0.0.1:%d/?serverSelection"
                        "TimeoutMS=100" % free_port())):
        with Lanes(dir, kind) as lanes:
            lanes.fill(1)
            sluiced = lanes.sluiced("--sink", sink, "--quarantine", dir)
            tap.ok(wait_for(lambda: "draining" in sluiced.output(), 10),
                   "%s: it runs" % kind)
            sluiced.kill9()
            tap.is_(named(sluiced.pid), [], "%s: killed, it leaves nothing"
                    % kind)

tap.done()
