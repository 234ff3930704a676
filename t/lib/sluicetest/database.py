"""A database server with MongoDB's protocol.

Whatever the machine has: the one named by SLUICE_TEST_MONGODB_URI, else
mongod, else secantusd-rs, else secantusd-py from build/venv or PATH.
"""

import os
import shutil
import urllib.parse
import uuid

import pymongo

from . import ports
from .process import Process

VENV = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                     "../../../build/venv/bin"))

USER = "sluice"
PASSWORD = "p@ss:w/rd"


class Unsupported(Exception):
    """The server of this machine cannot be made to do that."""


class Database:
    """One server with its data in a folder, and a database there.

    With `auth` it refuses clients without the user and password that are in
    `uri`.  With `bench` it may lose, if it is killed, what it acknowledged.
    """

    def __init__(self, dir, auth=False, bench=False, name="sluice"):
        self.dir = os.path.abspath(dir)
        self.auth = auth
        self.bench = bench
        self.name = name
        self.process = None
        self._clients = []
        self._user_made = False

        external = os.environ.get("SLUICE_TEST_MONGODB_URI")

        if external:
            self.kind = "external"
            # other tests, and other people, may use the same server
            self.name = "%s_%s" % (name, uuid.uuid4().hex[:12])
            self.uri = _with_database(external, self.name)

            if auth and not urllib.parse.urlsplit(self.uri).username:
                raise Unsupported("SLUICE_TEST_MONGODB_URI names no user")

            return

        self.kind, binary = _find_server()
        self.port = ports.free_port()
        self.uri = self.uri_as(USER, PASSWORD) if auth else self.uri_as()

        os.makedirs(os.path.join(self.dir, "data"), exist_ok=True)
        self._argv = self._command(binary)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.close()

    def uri_as(self, user=None, password=""):
        """The URI for a client with other credentials, or with none."""
        if self.kind == "external":
            parts = urllib.parse.urlsplit(self.uri)
            netloc = parts.netloc.rpartition("@")[2]
            query = parts.query
        else:
            parts = urllib.parse.urlsplit("mongodb://h/" + self.name)
            netloc = "127.0.0.1:%d" % self.port
            query = "authSource=admin" if user else ""

        if user:
            netloc = "%s:%s@%s" % (urllib.parse.quote_plus(user),
                                   urllib.parse.quote_plus(password), netloc)

        return parts._replace(netloc=netloc, query=query).geturl()

    def client(self, uri=None, timeout=10, **options):
        """A pymongo client, closed with the database.

        `timeout` is in seconds, for finding a server that answers.
        """
        client = pymongo.MongoClient(
            uri or self.uri, serverSelectionTimeoutMS=int(timeout * 1000),
            uuidRepresentation="standard", **options)
        self._clients.append(client)

        return client

    def start(self):
        """Starts the server, again on the same data, and waits for it."""
        if self.kind == "external":
            self._ping(self.uri, 10)
            return self

        if self.auth and not self._user_made:
            self._make_user()

        self._run(["--auth"] if self.auth else [], self.uri)

        return self

    def stop(self):
        """Ends the server in order; its data stays."""
        self._own_server()
        self.process.stop(timeout=30)

    def kill9(self):
        """Kills the server: what it acknowledged must be there again."""
        self._own_server()
        self.process.kill_group()

    def close(self):
        """Ends the server, or drops the database of an external one."""
        if self.kind == "external":
            self.client().drop_database(self.name)

        for client in self._clients:
            client.close()

        self._clients.clear()

        if self.process is not None:
            self.process.stop(timeout=30)

    def _own_server(self):
        if self.kind == "external":
            raise Unsupported("the server of SLUICE_TEST_MONGODB_URI is"
                              " not ours to stop")

    def _command(self, binary):
        data = os.path.join(self.dir, "data")

        if self.kind == "mongod":
            return [binary, "--bind_ip", "127.0.0.1", "--port", self.port,
                    "--dbpath", data, "--nounixsocket",
                    "--wiredTigerCacheSizeGB", "1" if self.bench else "0.25"]

        # named, as it would read one from the home directory otherwise
        config = os.path.join(self.dir, "secantusd.toml")
        open(config, "w").close()

        argv = [binary, "--config", config, "--host", "127.0.0.1",
                "--port", self.port, "--storage-path", data,
                "--cache-size", "1G" if self.bench else "256M"]

        if not self.bench:
            # majority promises a journal on disk; mongod's does without a flag
            argv.append("--sync-on-commit")

        return argv

    def _make_user(self):
        # neither kind of server has a user that could make the first one
        plain = self.uri_as()
        self._run([], plain)

        with pymongo.MongoClient(plain) as client:
            client.admin.command(
                "createUser", USER, pwd=PASSWORD,
                roles=[{"role": "readWrite", "db": self.name}])

        self.process.stop(timeout=30)
        self._user_made = True

    def _run(self, options, uri):
        self.process = Process(self._argv + options,
                               os.path.join(self.dir, "database.log"),
                               cwd=self.dir, name=self.kind)
        self.process.start()
        self.process.wait_ready(lambda: ports.accepts(self.port), timeout=60)
        self._ping(uri, 30)

    def _ping(self, uri, timeout):
        with pymongo.MongoClient(
                uri, serverSelectionTimeoutMS=timeout * 1000) as client:
            client[self.name].command("ping")


def _find_server():
    for kind in "mongod", "secantusd-rs", "secantusd-py":
        binary = shutil.which(kind) or shutil.which(kind, path=VENV)

        if binary:
            return kind, binary

    raise Unsupported("no database server: run `make deps`, or set"
                      " SLUICE_TEST_MONGODB_URI")


def _with_database(uri, name):
    """The URI with another database, and the users' database kept."""
    parts = urllib.parse.urlsplit(uri)
    query = parts.query

    # users are looked for in the database of the path, unless it says where
    if parts.username and "authsource=" not in query.lower():
        users = parts.path.strip("/") or "admin"
        query = "&".join(filter(None, [query, "authSource=" + users]))

    return parts._replace(path="/" + name, query=query).geturl()
