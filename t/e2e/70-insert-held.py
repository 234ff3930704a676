"""One insert hangs while the other writer goes on: the tail stays before what
is not acknowledged, that is told, and a kill at that moment loses nothing."""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.ports import free_port              # noqa: E402
from sluicetest.process import Process, wait_for    # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

RECORDS = 8000
OP_MSG = 2013


class Proxy:
    """Between sluiced and the database: holds the first insert for good."""

    def __init__(self, host, port):
        self.target = host, port
        self.port = free_port()
        self.held = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def _start(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self.target)
            self._start(self._pump, client, server, True)
            self._start(self._pump, server, client, False)

    def _first_insert(self, message):
        if (struct.unpack("<i", message[12:16]) != (OP_MSG,)
                or b"\x02insert\0" not in message[:60]):
            return False

        with self._lock:
            first = not self.held.is_set()
            self.held.set()

        return first

    def _pump(self, source, target, forward):
        try:
            with source.makefile("rb") as stream:
                while True:
                    head = stream.read(4)
                    if len(head) < 4:
                        break
                    rest = stream.read(struct.unpack("<i", head)[0] - 4)
                    if forward and self._first_insert(head + rest):
                        threading.Event().wait()
                    target.sendall(head + rest)
        except OSError:
            pass

        for end in source, target:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def lane(files):
    """The one lane, as sluicectl tells it."""
    status = subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir", files,
                             "--json", "status"], capture_output=True,
                            text=True, timeout=10)

    return json.loads(status.stdout)["lanes"][0]


with tempfile.TemporaryDirectory(prefix="sluice-held.") as dir, \
        Database(os.path.join(dir, "database")) as database:

    files = "/dev/shm/%s.files" % os.path.basename(dir)
    parts = urllib.parse.urlsplit(database.uri)
    proxy = Proxy(parts.hostname, parts.port or 27017)
    user, at, _ = parts.netloc.rpartition("@")
    query = "&".join(filter(None, [parts.query, "directConnection=true"]))
    through = parts._replace(netloc="%s%s127.0.0.1:%d" % (user, at, proxy.port),
                             query=query).geturl()
    environment = {"SLUICE_DATABASE": database.name, "SLUICE_QUARANTINE": dir}
    usage = database.client()[database.name].usage

    producer = Process([os.path.join(BUILD, "producer"), "dir=" + files,
                        "records=%d" % RECORDS, "rate=3000", "linger=60"],
                       os.path.join(dir, "producer.log"))
    sluiced = Process([os.path.join(BUILD, "sluiced"), "--dir", files,
                       "--batch-size", "100", "--batch-time", "10ms",
                       "--writers", "2"], os.path.join(dir, "sluiced.log"),
                      env={**environment, "SLUICE_MONGODB_URI": through})

    try:
        producer.start()
        wait_for(lambda: os.path.isdir(files), 5)
        sluiced.start()

        tap.ok(proxy.held.wait(5), "an insert is held")
        tap.ok(wait_for(lambda: usage.count_documents({}) >= 1000, 5),
               "the other writer goes on")

        # until it has come to a stand, or has taken all of the rest

        before = -1
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            now = lane(files)["head"], usage.count_documents({})
            if now == before:
                break
            before = now
            time.sleep(0.7)

        tap.note("%d documents, %r" % (before[1], lane(files)))
        tap.is_(lane(files)["tail"], 0,
                "the tail has not moved over what nobody acknowledged")
        tap.ok(wait_for(lambda: "not answered 1 writer for" in
                        sluiced.output(), 12),
               "an insert without an answer is told")
        tap.ok(sluiced.running, "sluiced lives") or tap.note(sluiced.tail())

        sluiced.kill9()
        producer.kill9()

        run = subprocess.run([os.path.join(BUILD, "sluiced"), "--dir", files,
                              "--once"], capture_output=True, text=True,
                             timeout=30,
                             env={**os.environ, **environment,
                                  "SLUICE_MONGODB_URI": database.uri})
        tap.is_(run.returncode, 0, "killed, it drains directly")
        tap.note(run.stderr)

        there = [r["_id"]["seq"] for r in usage.find({}, {"_id": 1})]
        missing = sorted(set(range(1, RECORDS + 1)) - set(there))
        tap.is_((len(there), len(missing), missing[:3]), (RECORDS, 0, []),
                "every record is there, once")

    finally:
        sluiced.stop()
        producer.stop()
        subprocess.run(["rm", "-rf", files], check=True)

tap.done()
