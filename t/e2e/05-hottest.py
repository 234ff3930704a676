"""sluicectl hottest: which keys of a zone count most, and how much, without
telling who they are; and what status tells of zones."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.stack import Stack                  # noqa: E402

# requests of each client; the window is long enough to hold them all
CLIENTS = {"ann": 5, "bob": 9, "cat": 2, "dan": 1}


def ask(port, client):
    return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w",
                           "%{http_code}", "-H", "Authorization: " + client,
                           "http://127.0.0.1:%d/" % port],
                          capture_output=True, text=True, timeout=10).stdout


with Stack("hottest", window="1d", limit=8) as stack:
    answers = {client: [ask(stack.port, client) for _ in range(n)]
               for client, n in CLIENTS.items()}
    tap.is_(answers["bob"], ["200"] * 8 + ["429"], "one is over the limit")

    run = stack.ctl("--json", "--top", "3", "hottest")
    hottest = json.loads(run.stdout)["hottest"]
    tap.is_(run.returncode, 0, "it answers")
    tap.is_([row["used"] for row in hottest], [8, 5, 2],
            "the three that count most, most first")
    tap.is_([row["zone"] for row in hottest], ["rpm"] * 3, "and their zone")
    tap.is_(len({row["key"] for row in hottest}), 3, "each a key of its own")
    tap.is_([row for row in hottest if not 86400 < row["reset_s"] <= 172800],
            [], "a window and a part of one are left")

    again = json.loads(stack.ctl("--json", "--top", "1", "hottest").stdout)
    tap.is_([row["key"] for row in again["hottest"]], [hottest[0]["key"]],
            "the same key again")

    table = stack.ctl("hottest").stdout
    tap.ok(re.search(r"ZONE +N +KEY +USED +RESET", table),
           "a table for people")
    tap.is_(len(table.split(hottest[0]["key"])), 2, "with the same keys")
    tap.is_([client for client in CLIENTS if client in table], [],
            "nobody's name is in it")

    zone = json.loads(stack.ctl("--json", "status").stdout)["zones"][0]
    tap.is_([zone[name] for name in ("live", "passed", "refused", "evicted")],
            [4, 16, 1, 0], "and status tells how full the zone is")

    for wrong in "0", "x", "10001":
        run = stack.ctl("--top", wrong, "hottest")
        tap.is_(run.returncode, 2, "--top %s is refused" % wrong)

tap.done()
