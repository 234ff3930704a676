"""sluicectl keys and key: what is known of each member of a pool, which of
them a configuration names, and the operator's word on one."""

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import API, BUILD, Stack           # noqa: E402

HEADER = 4096
MEMBERS = HEADER + 4096         # the control line has a page of its own
MEMBER = 320
WINDOW, ANSWERS, ID = 64, 136, 256
OWNER = 1                       # the lock of whoever gives out lines
ANSWER_NAMES = ["client", "none", "rate_limited", "denied", "exhausted",
                "error", "timeout", "connect"]


def ask(stack):
    return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w",
                           "%{http_code}",
                           "http://127.0.0.1:%d/" % stack.port],
                          capture_output=True, text=True, timeout=10).stdout


def keys(stack, *arguments):
    """The rows of sluicectl keys, by id."""
    run = stack.ctl("--json", "keys", *arguments)
    rows = json.loads(run.stdout)["keys"]

    return {row["id"]: row for row in rows}


def line(path, id):
    """Where in the file the member's line is."""
    with open(path, "rb") as file:
        data = file.read()

    for at in range(MEMBERS, MEMBERS + 1024 * MEMBER, MEMBER):
        if data[at + ID:at + ID + 48].rstrip(b"\0") == id.encode():
            return at


def put(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def lock(file, byte, kind):
    fcntl.fcntl(file, fcntl.F_OFD_SETLK,
                struct.pack("hhqqi", kind, os.SEEK_SET, byte, 1, 0))


def window(now, counts, seconds, shift, previous, current):
    """A window's slot, as window.h and member.c have it."""
    tag = 1 << 40 | counts << 27 | seconds << 5 | shift
    slot = tag << 80 | (now // (seconds * 1000)) << 48 | previous << 24 \
        | current

    return slot.to_bytes(16, "little")


with Stack("keys") as stack:
    pool = os.path.join(stack.files, "pool.api.1")

    tap.is_([ask(stack) for _ in range(4)], ["200"] * 4, "keys are used")

    rows = keys(stack)
    tap.is_(sorted(rows), ["a", "b"], "both keys are told")
    tap.is_([(rows[id]["pool"], rows[id]["number"], rows[id]["state"],
              rows[id]["named"], rows[id]["in_flight"]) for id in rows],
            [("api", 1, "healthy", True, 0)] * 2, "and how they are")
    tap.is_(sum(row["used"] for row in rows.values()), 4, "and their uses")
    tap.is_(rows["a"]["answers"], dict.fromkeys(ANSWER_NAMES, 0),
            "and each class of answers")
    tap.is_([name for name in ("reason", "until", "until_s", "since")
             if name in rows["a"]], [], "of a healthy one no reason")

    # a window is told beside its limit, if a configuration has one

    stack.gateway.configure(stack.conf().replace(
        "key sk-e2e-a id=a;", "key sk-e2e-a id=a limit=500/1d;"))
    stack.gateway.reload()

    # what the file says of answers and windows is told

    put(pool, line(pool, "a") + ANSWERS,
        struct.pack("<9Q", 99, *range(1, 9)))
    now = int(time.monotonic() * 1000)
    put(pool, line(pool, "a") + WINDOW,
        window(now, 0, 86400, 0, 0, 12) + window(now, 1, 86400, 3, 0, 500)
        + window(now - 180000, 0, 60, 0, 7, 7) + bytes(16))

    row = keys(stack, "api")["a"]
    tap.is_(row["answers"], dict(zip(ANSWER_NAMES, range(1, 9))),
            "answers by class")
    tap.is_(row["windows"],
            [{"counts": "requests", "window_s": 86400.0, "used": 12,
              "limit": 500},
             {"counts": "tokens", "window_s": 86400.0, "used": 4000}],
            "live windows, in what they count")
    tap.is_(keys(stack)["b"]["windows"], [], "and none of the other")

    table = stack.ctl("keys").stdout
    tap.ok(re.search(r"POOL +N +KEY +NAMED +STATE +REASON +STATUS +SINCE +FOR "
                     r"+IN-FLIGHT +USED +LIMITED +DENIED +EXHAUSTED +ERROR "
                     r"+TIMEOUT +CONNECT +WINDOWS", table),
           "a table for people") or tap.note(table)
    tap.ok("12/500 requests/1d00h, 4000 tokens/1d00h" in table,
           "with its windows")
    tap.ok(re.search(r" a .* 3 +4 +5 +6 +7 +8 ", table), "and its answers")
    tap.is_("sk-e2e" in table, False, "but no secret")

    # the operator's word

    run = stack.ctl("--json", "key", "disable", "api", "a")
    changed = json.loads(run.stdout)["changed"]
    tap.is_((run.returncode, len(changed)), (0, 1), "a key is disabled")
    tap.is_((changed[0]["pool"], changed[0]["id"], changed[0]["was"],
             changed[0]["is"]["state"], changed[0]["is"]["reason"]),
            ("api", "a", {"state": "healthy"}, "disabled", "operator"),
            "what it was, and what it is")

    row = keys(stack)["a"]
    tap.is_((row["state"], row["reason"], "until_s" in row),
            ("disabled", "operator", False), "keys tells it")
    tap.ok(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z$", row["since"])
           and row["age_s"] < 10, "and since when")

    before = keys(stack)
    tap.is_([ask(stack) for _ in range(4)], ["200"] * 4,
            "requests go out with the other one")
    after = keys(stack)
    tap.is_([after[id]["used"] - before[id]["used"] for id in "ab"], [0, 4],
            "and with that one only")

    run = stack.ctl("key", "cool", "api", "a", "--for", "10m")
    tap.is_((run.returncode, "enabled first" in run.stderr), (1, True),
            "what is disabled is not cooled") or tap.note(run.stderr)
    tap.is_(keys(stack)["a"]["state"], "disabled", "and stays so")

    table = stack.ctl("key", "cool", "api", "b", "--for", "10m").stdout
    tap.ok(re.search(r"api +1 +b +healthy +- +- +- +cooling +(10m00|9m59)s",
                     table), "a key cools") or tap.note(table)
    row = keys(stack)["b"]
    tap.is_((row["state"], row["reason"], 590 < row["until_s"] <= 600),
            ("cooling", "operator", True), "so long")
    tap.ok(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z$", row["until"])
           and row["until"] > row["since"], "until a time")
    tap.is_(ask(stack), "503", "and none is left")

    table = stack.ctl("key", "enable", "api", "a").stdout
    tap.ok(re.search(r"api +1 +a +disabled +operator +- +- +healthy +-",
                     table), "a key is enabled") or tap.note(table)
    tap.is_(ask(stack), "200", "and used")

    run = stack.ctl("key", "cool", "api", "b", "--for", "300ms")
    tap.ok(wait_for(lambda: keys(stack)["b"]["state"] == "healthy", 5),
           "an earlier time stands as well, and ends by itself")
    tap.is_([name for name in ("reason", "until", "until_s")
             if name in keys(stack)["b"]], [], "and is no reason any more")

    # an answer's word: of one key the upstream has had enough

    stack.api.configure((API % stack.values).replace(
        "location / {", """location / {
            add_header Retry-After 30 always;
            if ($http_authorization = "Bearer sk-e2e-b") { return 429; }"""))
    stack.api.reload()
    before = keys(stack)["b"]["answers"]["rate_limited"]
    tap.is_([ask(stack) for _ in range(4)], ["200"] * 4,
            "an upstream refuses one key")
    row = keys(stack)["b"]
    tap.is_((row["state"], row["reason"], row["status"],
             28 < row["until_s"] <= 30,
             row["answers"]["rate_limited"] - before),
            ("cooling", "status", 429, True, 1), "which cools, and why")
    tap.ok(re.search(r" b +yes +cooling +status +429 +\S+s +(30|29|28)s",
                     stack.ctl("keys", "api").stdout), "for people as well")
    stack.ctl("key", "enable", "api", "b")

    # what is wrong says so, and changes nothing

    before = keys(stack)

    for arguments, code, text in [
            (("key", "disable", "nope", "a"), 1, 'no pool "nope"'),
            (("key", "disable", "api", "nope"), 1, 'has no key "nope"'),
            (("key", "disable", "../api", "a"), 1, 'no pool "../api"'),
            (("key", "disable", "api", ""), 1, 'has no key ""'),
            (("key", "disable", "api", "a" * 99), 1, "has no key"),
            (("keys", "nope"), 1, 'no pool "nope"'),
            (("key", "banish", "api", "a"), 2, '"banish" is none of'),
            (("key", "cool", "api", "a"), 2, "needs --for"),
            (("key", "cool", "api", "a", "--for", "0"), 2, "is no value"),
            (("key", "cool", "api", "a", "--for", "soon"), 2, "is no value"),
            (("key", "disable", "api", "a", "--for", "10m"), 2, "only"),
            (("key", "enable", "api", "a", "--for", "10m"), 2, "only"),
            (("key", "enable", "api"), 2, "key VERB POOL ID"),
            (("key",), 2, "key VERB POOL ID"),
            (("keys", "api", "a"), 2, "keys [POOL]"),
            (("status", "api"), 2, "status"),
            (("lock",), 2, "one command")]:
        run = stack.ctl(*arguments)
        tap.is_((run.returncode, text in run.stderr), (code, True),
                " ".join(arguments)[:60]) or tap.note(run.stderr)
        run = stack.ctl("--json", *arguments)
        if code == 1:
            tap.is_(json.loads(run.stdout)["skipped"], [], "and its JSON")

    tap.is_(keys(stack), before, "nothing is changed by these")

    if os.getuid() == 0:
        run = subprocess.run(["setpriv", "--reuid", "nobody", "--regid",
                              "nogroup", "--clear-groups",
                              os.path.join(BUILD, "sluicectl"), "--dir",
                              stack.files, "key", "disable", "api", "a"],
                             capture_output=True, text=True, timeout=10)
        tap.is_((run.returncode, "Permission denied" in run.stderr),
                (1, True), "without the rights") or tap.note(run.stderr)
    else:
        tap.skip("without the rights", "not root")

    # a reload that names one of them no more, and gives the other a new secret

    stack.ctl("key", "disable", "api", "b")
    master, sealed = (os.path.join(stack.dir, name)
                      for name in ("master", "sealed"))
    run = subprocess.run([os.path.join(BUILD, "sluicectl"), "seal",
                          "--new-key", master], input=b"a sk-e2e-new\n",
                         capture_output=True, timeout=10)

    with open(sealed, "wb") as file:
        file.write(run.stdout)

    stack.gateway.configure(stack.conf().replace(
        "sluice_key_pool api { key sk-e2e-a id=a; key sk-e2e-b id=b; }",
        "sluice_master_key %s; sluice_key_pool api { keys sealed:%s; }"
        % (master, sealed)))

    for name, path in ("sealed file", sealed), ("master key", master):
        with open(path, "rb") as file:
            text = file.read()
        put(path, 40, b"1" if text[40:41] == b"0" else b"0")
        code, said = stack.gateway.test()
        put(path, 40, text[40:41])
        tap.is_((code, "another master key, or it was changed" in said,
                 "sk-e2e" in said), (1, True, False),
                "a changed %s is refused" % name) or tap.note(said)

    stack.gateway.reload()

    # the old workers have gone

    tap.ok(wait_for(lambda: len(json.loads(stack.ctl(
        "--json", "keys").stdout)["keys"]) == 1, 15),
        "former members are not told")
    tap.is_(keys(stack)["a"]["used"], 0, "a new secret is a new member")

    rows = json.loads(stack.ctl("--json", "--all", "keys").stdout)["keys"]
    tap.is_(sorted((row["id"], row["named"]) for row in rows),
            [("a", False), ("a", True), ("b", False)], "but with --all")

    run = stack.ctl("key", "enable", "api", "b")
    tap.is_((run.returncode, "--all" in run.stderr), (1, True),
            "a former member is left alone") or tap.note(run.stderr)
    tap.is_(keys(stack, "--all")["b"]["state"], "disabled", "as it was")
    run = stack.ctl("key", "enable", "api", "b", "--all")
    tap.is_((run.returncode, keys(stack, "--all")["b"]["state"]),
            (0, "healthy"), "but with --all")

    run = stack.ctl("--json", "key", "disable", "api", "a")
    tap.is_(len(json.loads(run.stdout)["changed"]), 1,
            "of two with one id the one that is named")
    tap.is_(ask(stack), "503", "is disabled")
    stack.ctl("key", "enable", "api", "a")
    tap.is_(ask(stack), "200", "or enabled: what was sealed is used")

    # nobody is left

    stack.gateway.stop()
    tap.is_(keys(stack), {}, "without nginx no configuration is in use")
    tap.is_(sorted(keys(stack, "--all")), ["a", "b"], "states stay")

    # while somebody gives out lines nobody is told a state

    with open(pool, "r+b") as file:
        lock(file, OWNER, fcntl.F_WRLCK)
        run = stack.ctl("--json", "key", "enable", "api", "a", "--all")
        tap.is_((run.returncode, json.loads(run.stdout)["changed"],
                 "try again" in run.stderr), (1, [], True),
                "it waits for whoever names members, for a while")

        # cut off under its eyes

        waits = subprocess.Popen([os.path.join(BUILD, "sluicectl"), "--dir",
                                  stack.files, "key", "enable", "api", "a",
                                  "--all"], stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        os.truncate(pool, HEADER)
        lock(file, OWNER, fcntl.F_UNLCK)
        said = waits.communicate(timeout=10)[1]
        tap.is_((waits.returncode, "truncated" in said), (1, True),
                "a file that is cut off meanwhile") or tap.note(said)

tap.done()
