"""sluicectl hottest: which keys of a zone count most, and how much, without
telling who they are; where the log tells it; and what status tells of zones."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import Stack                  # noqa: E402

# requests of each client; the window is long enough to hold them all
CLIENTS = {"ann": 5, "bob": 9, "cat": 2, "dan": 1}


def ask(port, client):
    return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w",
                           "%{http_code}", "-H", "Authorization: " + client,
                           "http://127.0.0.1:%d/" % port],
                          capture_output=True, text=True, timeout=10).stdout


# zones that the second configuration has no more
OTHERS = """
    sluice_limit_zone $http_x_none zone=ten:1m window=10s unit=tokens;
    sluice_limit_conn_zone $http_x_none zone=par:64k;
"""

with Stack("hottest", window="1d", limit=8, http=OTHERS) as stack:
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

    refused = [line for line in stack.gateway.errors().splitlines()
               if "refusing request" in line]
    tap.is_([re.search(r'by limit "rpm", key ([0-9a-f]{12}), client: ',
                       line).group(1) for line in refused],
            [hottest[0]["key"]], "the line of its refusal has the same key")

    zone = json.loads(stack.ctl("--json", "status").stdout)["zones"][0]
    tap.is_([zone[name] for name in ("live", "passed", "refused", "evicted")],
            [4, 16, 1, 0], "and status tells how full the zone is")


    def uses(table, command="status"):
        rows = json.loads(stack.ctl("--json", command).stdout)[table]
        return [" ".join(str(row[name])
                         for name in ("zone", "number", "use", "unit")
                         if name in row) for row in rows]

    tap.is_(uses("zones"),
            ["rpm 1 newest requests", "ten 1 newest tokens"], "what it counts")
    tap.is_(uses("conn_zones"), ["par 1 newest"], "and who uses it")

    stack.gateway.configure(stack.conf(zone="2m", http=""))
    stack.gateway.reload()
    wait_for(lambda: "rpm 1 former requests" in uses("zones"), 10)

    tap.is_(uses("zones"), ["rpm 1 former requests", "rpm 2 newest requests",
                            "ten 1 unused tokens"],
            "of two sizes it tells the former, and what nobody uses")
    tap.is_(uses("conn_zones"), ["par 1 unused"], "conn zones alike")

    ask(stack.port, "eve")
    tap.is_(set(uses("hottest", "hottest")),
            {"rpm 1 former requests", "rpm 2 newest requests"},
            "hottest tells the former, too")
    tap.ok(re.search(r"rpm +2 +newest +requests ", stack.ctl("status").stdout),
           "the table for people as well")

    os.unlink(os.path.join(stack.files, "zone.ten.1"))
    stack.gateway.configure(stack.conf(zone="2m", http=OTHERS))
    stack.gateway.reload()
    tap.is_(uses("zones")[-1], "ten 1 newest tokens",
            "who removes what is unused does no harm")

    stack.gateway.stop()
    tap.is_({use.split()[2] for use in uses("zones") + uses("conn_zones")},
            {"unused"}, "nobody uses any while nginx does not run")

    for wrong in "0", "x", "10001":
        run = stack.ctl("--top", wrong, "hottest")
        tap.is_(run.returncode, 2, "--top %s is refused" % wrong)

tap.done()
