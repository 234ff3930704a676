"""The helpers that other checks rest on do what they promise.

A database that forgets, or a password that is not asked for, would let any
check of sluiced pass.
"""

import os
import subprocess
import sys
import tempfile
import urllib.request
import uuid

import bson
import pymongo
from pymongo.errors import BulkWriteError, OperationFailure

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import process, proxies
from sluicetest.database import Database, PASSWORD, USER
from sluicetest.nginx import Nginx
from sluicetest.ports import accepts, free_port
from sluicetest.process import Failed
from sluicetest.tap import done, is_, note, ok, skip

CONF = """
worker_processes 2;
events { worker_connections 64; }
http {
    server {
        listen 127.0.0.1:%d;
        location / { return 200 %s; }
    }
}
"""


def records(first, count, lane):
    return [{"_id": {"lane": lane, "seq": bson.Int64(seq)}, "tokens": 7}
            for seq in range(first, first + count)]


def check_database(dir):
    with Database(dir) as database:
        note("database: " + database.kind)

        usage = database.client()[database.name].get_collection(
            "usage", write_concern=pymongo.WriteConcern("majority"))
        lane = uuid.uuid4()

        for first in range(0, 9800, 980):
            usage.insert_many(records(first, 980, lane), ordered=False)

        # a journal that lags behind would lack the last of these
        for first in range(9800, 10000):
            usage.insert_many(records(first, 1, lane), ordered=False)

        if database.kind == "external":
            skip("acknowledged records survive kill -9", "not our server")
        else:
            database.kill9()
            ok(not accepts(database.port), "a killed database is gone")
            database.start()
            is_(usage.count_documents({}), 10000,
                "acknowledged records survive kill -9")

        try:
            usage.insert_many(records(9999, 3, lane), ordered=False)
            codes = []
        except BulkWriteError as error:
            codes = [(one["index"], one["code"])
                     for one in error.details["writeErrors"]]

        is_(codes, [(0, 11000)], "a known _id is refused as a duplicate")
        is_(usage.count_documents({}), 10002, "and its neighbours are taken")

        usage.create_index("time", expireAfterSeconds=3600)
        is_([index.get("expireAfterSeconds") for index in usage.list_indexes()],
            [None, 3600], "an index with a time to live can be made")


def check_auth(dir):
    if "SLUICE_TEST_MONGODB_URI" in os.environ:
        skip("a database refuses a wrong password", "not our server")
        return

    with Database(dir, auth=True) as database:

        def count(uri):
            try:
                client = database.client(uri)
                return client[database.name].usage.count_documents({})
            except OperationFailure:
                return "refused"

        is_(count(database.uri), 0, "the right password is taken")
        is_(count(database.uri_as(USER, PASSWORD + "x")), "refused",
            "a wrong password is refused")
        is_(count(database.uri_as()), "refused", "and so is none")


def check_nginx(dir):
    port = free_port()

    def get():
        with urllib.request.urlopen("http://127.0.0.1:%d/" % port,
                                    timeout=10) as response:
            return response.read().decode()

    nginx = Nginx(dir, CONF % (port, "one"), ready=port)

    is_(nginx.test()[0], 0, "nginx -t takes a good configuration")

    nginx.start()
    is_((get(), len(nginx.workers())), ("one", 2), "nginx serves")

    nginx.configure(CONF % (port, "two"))
    nginx.reload()
    is_(get(), "two", "a reload brings a new configuration")

    nginx.configure("nonsense;")
    code, text = nginx.test()
    ok(code != 0 and "nonsense" in text, "nginx -t refuses a bad one")

    try:
        nginx.reload()
        ok(False, "so does a reload")
    except Failed as failed:
        ok("nonsense" in str(failed), "so does a reload")

    nginx.configure(CONF % (port, "three"))

    killed = nginx.kill_worker()
    ok(killed not in nginx.workers(), "a killed worker is replaced")

    old = nginx.upgrade()
    is_(len(nginx.masters()), 2, "an upgrade starts a second master")
    nginx.retire(old)
    is_(get(), "three", "which serves")
    nginx.undo_upgrade(old)
    is_((nginx.master, get()), (old, "two"), "the way back leads to the old one")

    old = nginx.upgrade()
    nginx.finish_upgrade(old)
    is_((len(nginx.masters()), get()), (1, "three"), "an upgrade goes through")

    nginx.kill_master()
    is_((nginx.masters(), get()), ([], "three"),
        "without a master its workers serve on")

    nginx.stop()
    ok(not accepts(port), "stop ends them")

    nginx.start()
    is_(get(), "three", "nginx starts after that")
    ok(nginx.stop(), "and ends by itself when told to")


def check_proxies(dir):
    port = free_port()
    nothing = free_port()

    def get(url, to=port):
        """What comes through it, "none" if nothing does."""
        curl = subprocess.run(
            ["curl", "-s", "--max-time", "10", "--proxytunnel", "--proxy",
             url, "http://127.0.0.1:%d/" % to], capture_output=True, text=True,
            timeout=30)

        return curl.stdout if curl.returncode == 0 else "none"

    with Nginx(os.path.join(dir, "nginx"), CONF % (port, "well"), ready=port):
        for kind in proxies.ALL:
            with kind(dir) as proxy:
                is_((get(proxy.url), get(proxy.url, nothing)),
                    ("well", "none"), kind.program + ": a tunnel")

            ok(not accepts(proxy.port), kind.program + ": gone when stopped")

            if not kind.knows_users:
                continue

            with kind(dir, auth=True) as proxy:
                is_([get(url) for url in (
                    proxy.url, proxy.url.replace("joe:", "jim:"),
                    proxy.url.replace("@", "x@"),
                    "%s://127.0.0.1:%d" % (proxy.scheme, proxy.port))],
                    ["well", "none", "none", "none"],
                    kind.program + ": for one user only")


# What this program starts ends with it, whichever way it ends.

VICTIM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from sluicetest.process import Process
one = Process(["sh", "-c", "sleep 60 & sleep 60"], sys.argv[2]).start()
print(one.pid, flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[3]))
sys.stdin.read()
"""


def check_endings(dir):
    lib = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")

    for number in "SIGTERM", "SIGINT", "SIGKILL":
        victim = subprocess.run(
            [sys.executable, "-c", VICTIM, lib, os.path.join(dir, "victim.log"),
             number], stdout=subprocess.PIPE, timeout=30)

        ok(process.wait_for(lambda: not process.members(int(victim.stdout)),
                            10),
           "nothing is left of a program ended by " + number)


with tempfile.TemporaryDirectory(prefix="sluice-") as top:
    # nginx's workers need not be root
    os.chmod(top, 0o755)

    for check in check_endings, check_nginx, check_proxies, \
            check_database, check_auth:
        dir = os.path.join(top, check.__name__)
        os.mkdir(dir)
        check(dir)

done()
