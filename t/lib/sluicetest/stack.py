"""The whole of it: database, API, gateway and sluiced, and a load on it."""

import array
import os
import shutil
import subprocess
import tempfile

from . import ports
from .database import Database
from .nginx import Nginx
from .process import Process, wait_for

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                     "../../.."))
BUILD = os.environ.get("SLUICE_BUILD", os.path.join(ROOT, "build"))

# an nginx of another build, and "" for a module that is built in
BINARY = os.environ.get("SLUICE_NGINX", "nginx")
MODULE = os.environ.get("SLUICE_MODULE",
                        os.path.join(BUILD, "ngx_http_sluice_module.so"))

API = """
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    server {
        listen 127.0.0.1:%(api)d;
        location / { return 200 '{"object":"list","data":[]}\\n'; }
    }
}
"""

GATEWAY = """
worker_processes %(workers)d;
%(main)s
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    sluice_dir %(files)s;
    sluice_ring %(ring)s;
    sluice_limit_zone $sluice_client zone=rpm:%(zone)s window=%(window)s;
    %(http)s
    sluice_key_pool api { key sk-e2e-a id=a; key sk-e2e-b id=b; }
    upstream api { server 127.0.0.1:%(api)d; keepalive 32; }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            sluice_client $http_authorization;
            sluice_limit zone=rpm limit=%(limit)d;
            %(location)s
            sluice_key api;
            sluice_usage on;
            sluice_usage_field n $http_x_n;
            proxy_set_header Authorization "Bearer $sluice_key";
            proxy_set_header Connection "";
            proxy_http_version 1.1;
            proxy_pass http://api;
        }
    }
}
"""


class Stack:
    """Everything on free ports, in a folder of its own, ended together."""

    def __init__(self, name, auth=False, bench=False, sluiced=(), env=None,
                 **values):
        self.dir = tempfile.mkdtemp(prefix="sluice-%s." % name)
        os.chmod(self.dir, 0o755)
        self.files = "/dev/shm/%s.files" % os.path.basename(self.dir)
        self.port = ports.free_port()
        self.api_port = ports.free_port()
        self.user = "www-data" if os.getuid() == 0 else None
        self.options = list(sluiced)
        self.env = env or {}
        self.values = {"workers": 2, "ring": "64m", "main": "",
                       "http": "", "location": "",
                       "zone": "1m", "window": "1m", "limit": 8000000, "files": self.files,
                       "port": self.port, "api": self.api_port, **values}

        self.database = Database(os.path.join(self.dir, "database"),
                                 auth=auth, bench=bench)
        self.api = Nginx(os.path.join(self.dir, "api"), API % self.values,
                         ready=self.api_port, user=self.user,
                         log_level="error")
        self.gateway = Nginx(os.path.join(self.dir, "gateway"),
                             self.conf(), ready=self.port, user=self.user,
                             binary=BINARY, modules=[MODULE] if MODULE else [],
                             log_level="notice", env=self.env)
        self.sluiced = None

    def __enter__(self):
        self.database.start()
        self.api.start()
        self.gateway.start()
        self.start_sluiced()
        return self

    def __exit__(self, kind, *exception):
        if kind is not None:
            print("# kept: %s %s" % (self.dir, self.files))
        if self.sluiced is not None:
            self.sluiced.stop()
        self.gateway.stop()
        self.api.stop()
        self.database.close()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
            shutil.rmtree(self.files, ignore_errors=True)

    def conf(self, **values):
        return GATEWAY % {**self.values, **values}

    def start_sluiced(self, *options, sink=None, env=None):
        """Starts (again) the sidecar; its log goes on."""
        argv = [os.path.join(BUILD, "sluiced"), "--dir", self.files,
                "--database", self.database.name, *self.options, *options]
        if sink:
            argv += ["--sink", sink]
        self.sluiced = Process(argv, os.path.join(self.dir, "sluiced.log"),
                               env={**os.environ, **self.env, **(env or {}),
                                    "SLUICE_MONGODB_URI": self.database.uri})
        self.sluiced.start()

        return self.sluiced

    def ctl(self, *arguments):
        """What sluicectl prints."""
        return subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir",
                               self.files, *arguments],
                              capture_output=True, text=True, timeout=30)

    def load(self, count, connections=32, rate=0):
        """Starts requests 1 to count, in the background."""
        self.count = count
        self.answers = os.path.join(self.dir, "answers")
        load = Process([os.path.join(BUILD, "load"), str(self.port),
                        str(count), str(connections), str(rate),
                        self.answers], os.path.join(self.dir, "load.log"))

        return load.start()

    def statuses(self):
        """statuses()[n]: what request n was answered with, 0: not at all."""
        numbers = array.array("H")
        with open(self.answers, "rb") as file:
            numbers.frombytes(file.read())

        return numbers

    def lanes(self):
        return [name for name in os.listdir(self.files)
                if name.startswith("lane.")]

    def drained(self, timeout=60):
        """Waits until no lane is left, after nginx has gone."""
        return wait_for(lambda: not self.lanes(), timeout)

    def records(self):
        """The collection's documents, what the tests need of them."""
        collection = self.database.client()[self.database.name].usage

        return collection.find({}, {"fields.n": 1, "aborted": 1, "status": 1,
                                    "time_us": 1, "outcome": 1})


def account(statuses, records):
    """Holds the answers against the records.

    Returns a dictionary: how many were answered, how many records there are,
    and lists of request numbers that are missing, twice, and not told by an
    own number; `gaps` counts sequence numbers that no record of a lane has.
    """
    seen = {}
    lanes = {}
    aborted = nameless = total = disordered = 0

    for record in records:
        total += 1
        aborted += bool(record.get("aborted"))
        n = record.get("fields", {}).get("n")
        if n is None:
            nameless += 1
        else:
            seen[int(n)] = seen.get(int(n), 0) + 1
        lanes.setdefault(record["_id"]["lane"], []).append(
            (int(record["_id"]["seq"]), record["time_us"]))

    gaps = 0
    for lane in lanes.values():
        lane.sort()
        sequences = [sequence for sequence, _ in lane]
        gaps += sequences[-1] - len(set(sequences))
        times = [time for _, time in lane]
        disordered += sum(a > b for a, b in zip(times, times[1:]))

    answered = [n for n, status in enumerate(statuses) if status]

    return {"answered": len(answered), "records": total, "aborted": aborted,
            "nameless": nameless, "lanes": len(lanes), "gaps": gaps,
            "disordered": disordered,
            "missing": [n for n in answered if n not in seen],
            "twice": [n for n, times in seen.items() if times > 1],
            "unasked": [n for n in seen if n >= len(statuses)]}
