"""sluicectl proxies and proxy: the commands of keys over the other kind of
pool, in the words of that one.  What they have in common: 06-keys.py."""

import fcntl
import json
import os
import re
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.pools import HEADER, as_proxies, members    # noqa: E402
from sluicetest.stack import Stack                  # noqa: E402

MEMBERS = HEADER + 4096
MEMBER = 320
USED, ANSWERS, COLUMN = 128, 136, MEMBERS + 1024 * MEMBER
LINE = 2048                     # the lock of whoever names line 0


def rows(stack, command, *arguments):
    run = stack.ctl("--json", command, *arguments)

    return {row["id"]: row for row in json.loads(run.stdout)[command]}


def put(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


with Stack("proxies") as stack:
    tap.is_(rows(stack, "proxies"), {}, "no pool of proxies, no proxies")
    tap.ok("none" in stack.ctl("proxies").stdout, "a table says so")

    # one of each kind with the same name, lines 0 and 1 are a and b

    path = as_proxies(stack.files, "api", "api")
    put(path, MEMBERS + USED, struct.pack("<10Q", 40, 0, 0, 2, 0, 0, 0, 7, 8,
                                          9))
    put(path, COLUMN, struct.pack("<H", 3))

    tap.is_(rows(stack, "proxies"), {}, "no configuration names them")
    tap.is_(sorted(rows(stack, "proxies", "--all")), ["a", "b"],
            "with --all they are told")

    run = stack.ctl("proxy", "disable", "api", "a")
    tap.is_((run.returncode, 'names proxy "a" of proxy pool "api"'
             in run.stderr), (1, True),
            "a former one is left alone") or tap.note(run.stderr)

    with open(path, "r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK,
                    struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, LINE, 2,
                                0))

        told = rows(stack, "proxies", "api")
        row = told["a"]
        tap.is_(sorted(told), ["a", "b"], "those that are named are told")
        tap.is_([row[name] for name in ("pool", "number", "named", "state",
                                        "in_flight", "used")],
                ["api", 1, True, "healthy", 3, 40], "and how they are")
        tap.is_((row["answers"], "windows" in row),
                ({"none": 2, "error": 7, "timeout": 8, "connect": 9}, False),
                "with what a proxy may have, and nothing else")

        table = stack.ctl("proxies").stdout
        tap.ok(re.search(r"POOL +N +PROXY +NAMED +STATE +REASON +STATUS "
                         r"+SINCE +FOR +IN-FLIGHT +USED +ERROR +TIMEOUT "
                         r"+CONNECT\n", table),
               "a table for people") or tap.note(table)
        tap.ok(re.search(r" a +yes +healthy +- +- +- +- +3 +40 +7 +8 +9\n",
                         table), "and a's line") or tap.note(table)

        # status: both, each by its kind

        tap.is_((sorted(members(stack.files)),
                 sorted(members(stack.files, "proxies"))),
                ([("api", "a"), ("api", "b")],) * 2, "status has both kinds")
        table = stack.ctl("status").stdout
        tap.ok(re.search(r" api +1 +keys +a .*\n.*\n *api +1 +proxies +a "
                         r"+healthy +- +3 +40\n", table),
               "and says which") or tap.note(table)

        # the operator's word

        table = stack.ctl("proxy", "disable", "api", "a").stdout
        tap.ok(re.search(r"POOL +N +PROXY +WAS .*\n +api +1 +a +healthy +- +- "
                         r"+- +disabled +-", table),
               "a proxy is disabled") or tap.note(table)
        tap.is_((rows(stack, "proxies")["a"]["state"],
                 rows(stack, "proxies")["b"]["state"],
                 rows(stack, "keys")["a"]["state"]),
                ("disabled", "healthy", "healthy"),
                "neither another one nor the key of that name")

        run = stack.ctl("proxy", "cool", "api", "a", "--for", "10m")
        tap.is_((run.returncode, 'proxy "a" of proxy pool "api" is disabled'
                 in run.stderr), (1, True),
                "what is disabled is not cooled") or tap.note(run.stderr)

        stack.ctl("proxy", "enable", "api", "a")
        run = stack.ctl("--json", "proxy", "cool", "api", "a", "--for", "10m")
        changed = json.loads(run.stdout)["changed"][0]
        tap.is_((changed["pool"], changed["id"], changed["was"]["state"],
                 changed["is"]["state"], changed["is"]["reason"]),
                ("api", "a", "healthy", "cooling", "operator"),
                "it is enabled, and cools")
        tap.ok(590 < rows(stack, "proxies")["a"]["until_s"] <= 600, "so long")

        stack.ctl("key", "disable", "api", "b")
        tap.is_((rows(stack, "proxies")["b"]["state"],
                 rows(stack, "keys")["b"]["state"]), ("healthy", "disabled"),
                "a word on a key is none on the proxy")

        for arguments, code, text in [
                (("proxies", "nope"), 1, 'no proxy pool "nope"'),
                (("proxy", "disable", "nope", "a"), 1, 'no proxy pool "nope"'),
                (("proxy", "disable", "api", "nope"), 1,
                 'proxy pool "api" has no proxy "nope"'),
                (("proxy", "cool", "api", "a"), 2, '"proxy cool" needs --for'),
                (("proxy", "disable", "api", "a", "--for", "9s"), 2,
                 'for "proxy cool" only'),
                (("proxy", "banish", "api", "a"), 2, '"banish" is none of'),
                (("proxy", "enable", "api"), 2, "proxy VERB POOL ID")]:
            run = stack.ctl(*arguments)
            tap.is_((run.returncode, text in run.stderr), (code, True),
                    " ".join(arguments)) or tap.note(run.stderr)

    # a file of keys under a name of proxies is not taken for one

    os.remove(path)
    os.link(os.path.join(stack.files, "pool.api.1"),
            os.path.join(stack.files, "proxies.api.2"))
    run = stack.ctl("--json", "proxies", "--all")
    told = json.loads(run.stdout)
    tap.is_((told["proxies"], [row["file"] for row in told["skipped"]]),
            ([], ["proxies.api.2"]), "a file of the other kind is skipped")

    # who may make a file there may give it any name

    name = "zone.a.\x1b[31m\n\u009b2J"
    with open(os.path.join(stack.files, name), "wb"):
        pass

    run = stack.ctl("status")
    tap.is_([line for line in run.stderr.splitlines() if "zone.a" in line],
            ['skipped: zone.a.?[31m???2J: "%s/zone.a.?[31m???2J" '
             "is truncated" % stack.files],
            "a file's name does not move the cursor") or tap.note(run.stderr)
    run = stack.ctl("--json", "status")
    tap.ok(name in [row["file"] for row in json.loads(run.stdout)["skipped"]],
           "and is in the JSON as it is")

tap.done()
