"""Every answered request is recorded, once, whatever becomes of sluiced and
of the database: sluiced is killed and started again, the database stopped
and started, while requests go on."""

import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.stack import Stack, account         # noqa: E402

COUNT = int(os.environ.get("SLUICE_E2E_COUNT", "200000"))
KILLS = 20
OUTAGES = 3
SECONDS = 30            # that the load takes, so that there is time to kill

random.seed(20)

with Stack("killed") as stack:
    load = stack.load(COUNT, rate=COUNT // SECONDS)
    events = ["kill"] * KILLS + ["outage"] * OUTAGES
    random.shuffle(events)
    pause = SECONDS / (len(events) + 1)
    kills = outages = 0

    for event in events:
        time.sleep(pause * random.uniform(0.3, 1.2))
        if event == "kill":
            stack.sluiced.kill9()
            kills += 1
            time.sleep(random.uniform(0, 0.3))
            stack.start_sluiced()
        else:
            stack.database.stop()
            outages += 1
            time.sleep(random.uniform(0.2, 1.0))
            stack.database.start()

    tap.is_(load.wait(300), 0, "the load ends")
    tap.note(load.tail(1))
    tap.is_((kills, outages), (KILLS, OUTAGES), "sluiced was killed 20 times, "
            "the database stopped 3 times")
    tap.ok(stack.gateway.stop(), "nginx ends")
    tap.ok(stack.drained(120), "all lanes are drained and removed")

    statuses = stack.statuses()
    told = account(statuses, stack.records())
    tap.note({name: value if isinstance(value, int) else len(value)
              for name, value in told.items()})

    tap.is_(sum(status == 200 for status in statuses), COUNT,
            "all requests were answered with 200")
    tap.is_(told["records"], told["answered"], "answered = recorded")
    tap.is_(told["missing"][:5], [], "no answered request is missing")
    tap.is_(told["twice"][:5], [], "none is recorded twice")
    tap.is_((told["gaps"], told["disordered"]), (0, 0),
            "each lane has all of its sequence numbers, in order of time")
    tap.is_(told["aborted"], 0, "none is told as aborted")

tap.done()
