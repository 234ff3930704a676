"""Every answered request is recorded, once, whatever becomes of nginx:
workers are killed, the master stopped and started, reloaded and upgraded,
while requests go on.  What was open is recorded as aborted."""

import os
import random
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.stack import Stack, account         # noqa: E402

COUNT = int(os.environ.get("SLUICE_E2E_COUNT", "200000"))
SECONDS = 30

random.seed(30)


HELD = 8
broken = []


def hold(stack, n):
    """A request whose body does not come: admitted, and open."""
    sock = socket.create_connection(("127.0.0.1", stack.port), 10)
    sock.settimeout(0.2)
    sock.sendall(b"POST /v1/models HTTP/1.1\r\nHost: gateway\r\n"
                 b"X-N: %d\r\nContent-Length: 1\r\n\r\n" % n)

    return n, sock


def is_closed(sock):
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def kill_worker(stack):
    first = COUNT + 1 + kill_worker.times * HELD
    kill_worker.times += 1
    held = [hold(stack, first + i) for i in range(HELD)]

    time.sleep(0.1)
    stack.gateway.kill_worker()

    for n, sock in held:
        if is_closed(sock):
            broken.append(n)
        sock.close()


kill_worker.times = 0


def restart(stack):
    stack.gateway.stop(signal.SIGTERM)
    time.sleep(random.uniform(0, 0.2))
    stack.gateway.start()


def reload(stack):
    stack.gateway.reload()


def resize(stack):
    stack.gateway.configure(stack.conf(zone="2m"))
    stack.gateway.reload()


def upgrade(stack):
    old = stack.gateway.upgrade()
    time.sleep(0.3)
    stack.gateway.finish_upgrade(old)


def upgrade_and_back(stack):
    old = stack.gateway.upgrade()
    time.sleep(0.3)
    stack.gateway.undo_upgrade(old)


EVENTS = [kill_worker] * 12 + [restart] * 2 + [reload] * 3 + [upgrade] * 2 \
    + [upgrade_and_back, resize]

with Stack("nginx") as stack:
    load = stack.load(COUNT, rate=COUNT // SECONDS)
    events = EVENTS[:]
    random.shuffle(events)
    pause = SECONDS / (len(events) + 1)

    for event in events:
        time.sleep(pause * random.uniform(0.3, 0.9))
        event(stack)

    tap.is_(load.wait(300), 0, "the load ends")
    tap.note(load.tail(1))
    tap.ok(stack.gateway.stop(), "nginx ends")
    tap.ok(stack.drained(120), "all lanes are drained and removed")

    statuses = stack.statuses()
    records = list(stack.records())
    told = account(statuses, records)
    aborted = {int(record["fields"]["n"]) for record in records
               if record.get("aborted")}
    tap.note({name: value if isinstance(value, int) else len(value)
              for name, value in told.items()})

    tap.ok(told["answered"] > COUNT * 0.9, "most requests were answered")
    tap.is_(told["missing"][:5], [], "no answered request is missing")
    tap.is_(told["twice"][:5], [], "none is recorded twice")
    tap.is_(told["nameless"], 0, "every record tells whose it is")
    tap.ok(len(broken) > 0, "killed workers had %d requests of ours open"
           % len(broken))
    tap.is_([n for n in broken if n not in aborted][:5], [],
            "all of which are recorded as aborted")
    tap.is_(told["disordered"], 0, "each lane is in order of time")

tap.done()
