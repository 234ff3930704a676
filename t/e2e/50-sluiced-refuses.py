"""What sluiced is told wrong it says, and loses nothing by it; it never says
a password."""

import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import PASSWORD            # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD, Stack           # noqa: E402

SECRET = "p%40ss%3Aw%2Frd"
SLUICED = os.path.join(BUILD, "sluiced")


def run(files, *options, uri=None, user=None, binary=SLUICED, timeout=20):
    """sluiced --once: its status and what it said."""
    env = dict(os.environ)
    if uri:
        env["SLUICE_MONGODB_URI"] = uri
    done = subprocess.run([binary, "--dir", files, "--once", *options],
                          env=env, text=True, capture_output=True,
                          timeout=timeout, user=user, group=user)

    return done.returncode, done.stdout + done.stderr


def ask(port, head):
    """One request of raw bytes; the status line."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"GET /x?secret=1 HTTP/1.1\r\nHost: a\r\n"
                       b"Authorization: c\r\nConnection: close\r\n"
                       + head + b"\r\n")
        return client.makefile("rb").readline()


with Stack("refuses", auth=True) as stack:
    tap.ok(wait_for(lambda: "draining" in stack.sluiced.output(), 10),
           "it tells what it drains")

    code, said = run(stack.files, "--sink", "null:")
    tap.ok(code != 0 and "already" in said and str(stack.sluiced.pid) in said,
           "a second one says who is there")

    # what MongoDB would not take as it is

    ask(stack.port, b"X-N: 7\xff\xfe\xc3(\r\n")
    ask(stack.port, b"X-N: " + b"y" * 4000 + b"\r\n")
    users = stack.database.client()[stack.database.name].usage
    tap.ok(wait_for(lambda: users.count_documents({}) == 2, 10),
           "bytes that are no UTF-8, and too long ones, are recorded")
    odd = users.find_one({"repaired": {"$exists": True}}) or {}
    tap.is_(odd.get("fields", {}).get("n"), "7\ufffd\ufffd\ufffd(",
            "what is no UTF-8 is replaced, and told")
    cut = users.find_one({"cut": {"$exists": True}}) or {}
    tap.is_((cut.get("cut"), len(cut.get("fields", {}).get("n", ""))),
            (["fields.n"], 255), "what is too long is cut, and told")
    tap.is_(cut.get("uri"), "/x", "the arguments of a URI are not recorded")

    stack.sluiced.stop()

    # wrong options

    code, said = run(stack.files, "--sink", "nonsense:")
    tap.ok(code != 0 and "none of mongodb" in said, "an unknown sink")
    code, said = run(stack.files, uri="mongodb://sluice:%s@:x/" % SECRET)
    tap.ok(code != 0 and said and SECRET not in said and PASSWORD not in said,
           "a URI that is none")
    tap.note(said)
    code, said = run(stack.files, uri=stack.database.uri + (
        "&" if "?" in stack.database.uri else "?") + "w=0")
    tap.ok(code != 0 and "w=0" in said and SECRET not in said, "w=0")
    tap.note(said)
    code, said = run(stack.files, "--what", "1")
    tap.ok(code != 0 and "--what" in said, "an unknown option")

    if os.getuid() == 0:

        # that user may not enter the folder that all of this is in

        code, said = run(stack.files, "--sink", "null:", user=65534,
                         binary=shutil.copy(SLUICED, stack.dir))
        tap.ok(code != 0 and "ermission" in said,
               "a user without rights on the directory")
        tap.note(said)
    else:
        tap.skip("a user without rights on the directory", "not root")

    # a wrong password: the ring holds what comes meanwhile

    ask(stack.port, b"X-N: 8\r\n")
    right = stack.database.uri
    stack.database.uri = stack.database.uri_as("sluice", "wr0ng-w0rd")
    stack.start_sluiced()
    tap.ok(wait_for(lambda: "uthentication" in stack.sluiced.output(), 15),
           "a wrong password is told")
    time.sleep(1)
    tap.ok(stack.sluiced.running, "and sluiced keeps trying")
    stack.sluiced.stop()
    tap.ok("wr0ng-w0rd" not in stack.sluiced.output(), "it is not printed")
    stack.database.uri = right
    stack.start_sluiced()
    tap.ok(wait_for(lambda: users.count_documents({"fields.n": "8"}) == 1, 10),
           "with the right one what waited is recorded")

    tap.ok(all(word not in open(os.path.join(stack.dir, "sluiced.log")).read()
               for word in (SECRET, PASSWORD)), "no password in the log")

# before nginx: the directory is not there yet

with Stack("early") as stack:
    stack.gateway.stop()
    stack.sluiced.stop()
    subprocess.run(["rm", "-rf", stack.files], check=True)
    stack.start_sluiced()
    time.sleep(0.5)
    tap.ok(stack.sluiced.running, "without its directory it waits")
    tap.is_(stack.sluiced.output().count("yet: waiting"), 1,
            "and says so once") or tap.note(stack.sluiced.output())
    stack.gateway.start()
    ask(stack.port, b"X-N: 9\r\n")
    users = stack.database.client()[stack.database.name].usage
    tap.ok(wait_for(lambda: users.count_documents({"fields.n": "9"}) == 1, 10),
           "then it drains")

    stack.database.stop()
    ask(stack.port, b"X-N: 10\r\n")
    tap.ok(wait_for(lambda: "away" in stack.sluiced.output(), 15),
           "it tells that the database is away")
    time.sleep(3)
    tap.ok(stack.sluiced.running, "and outlives it")
    lines = [line for line in stack.sluiced.output().splitlines()
             if "away" in line]
    tap.ok(len(lines) < 10, "it does not tell so every time")
    tap.note(stack.sluiced.tail(8))
    stack.database.start()
    tap.ok(wait_for(lambda: users.count_documents({"fields.n": "10"}) == 1,
                    30), "what waited is recorded")

tap.done()
