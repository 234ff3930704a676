"""Limits stay exact whatever becomes of nginx: no client gets more than its
limit over reloads, upgrades, restarts, kills and a new size of the zone, and
none gets less but what died with a worker."""

import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.stack import Stack                  # noqa: E402

CLIENTS = 10                # as the load has them: request n is of n % 10
LIMIT = 4000
COUNT = 100000
SECONDS = 20

random.seed(35)

with Stack("exact", limit=LIMIT, window="31d") as stack:

    def resize(size):
        stack.gateway.configure(stack.conf(zone=size))
        stack.gateway.reload()

    def restart(number):
        stack.gateway.stop(number)
        stack.gateway.start()

    def upgrade():
        stack.gateway.finish_upgrade(stack.gateway.upgrade())

    events = [stack.gateway.kill_worker, stack.gateway.reload,
              lambda: resize("2m"), stack.gateway.kill_worker, upgrade,
              lambda: restart(signal.SIGTERM), stack.gateway.reload,
              lambda: restart(signal.SIGQUIT), stack.gateway.kill_worker]

    load = stack.load(COUNT, rate=COUNT // SECONDS)

    for event in events:
        time.sleep(SECONDS / 2 / len(events) * random.uniform(0.6, 1.2))
        event()

    tap.is_(load.wait(120), 0, "the load ends")
    tap.note(load.tail(1))

    statuses = stack.statuses()
    admitted = [0] * CLIENTS
    broken = [0] * CLIENTS

    for n in range(1, COUNT + 1):
        admitted[n % CLIENTS] += statuses[n] == 200
        broken[n % CLIENTS] += statuses[n] == 0

    tap.note("admitted %s, broken %s" % (admitted, broken))
    tap.ok(sum(broken) > 0, "something was killed on the way")
    tap.is_([n for n in admitted if n > LIMIT], [],
            "no client gets more than its limit")
    tap.is_([n for n, lost in zip(admitted, broken) if n + lost < LIMIT], [],
            "none gets less, but for what was broken off")
    tap.is_({status for status in statuses[1:]} - {0, 200, 429}, set(),
            "every other request was refused with 429")

    tables = sorted(name for name in os.listdir(stack.files)
                    if name.startswith("zone."))
    tap.is_(tables, ["zone.rpm.1", "zone.rpm.2"],
            "the former table counts still, as its window is not over")

tap.done()
