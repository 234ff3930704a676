"""Lanes without nginx: the bench's producer fills them, sluiced drains them.
"""

import json
import os
import shutil
import subprocess

from .process import Process
from .stack import BUILD


class Lanes:
    """A sluice_dir in /dev/shm, named after the folder of its test.

    What is started through it is stopped with it.
    """

    def __init__(self, dir, name="files"):
        self.dir = dir
        self.files = "/dev/shm/%s.%s" % (os.path.basename(dir), name)
        self.log = os.path.join(dir, "sluiced.%s.log" % name)
        self._started = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        # as they are: a test that fails must not wait for what hangs
        for process in self._started:
            if process.running:
                process.kill_group()
        shutil.rmtree(self.files, ignore_errors=True)

    def fill(self, records, **options):
        """Makes one lane (`lanes=` more) of a worker that has gone.

        Returns the names of what it made.
        """
        before = set(self.names()) if os.path.isdir(self.files) else set()
        subprocess.run(self._producer(records, options), check=True,
                       capture_output=True, timeout=30)

        return sorted(set(self.names()) - before)

    def feed(self, records, **options):
        """The same in the background, of a worker that is there."""
        return self._start(Process(self._producer(records, options),
                                   os.path.join(self.dir, "producer.log")))

    def _producer(self, records, options):
        return [os.path.join(BUILD, "producer"), "dir=" + self.files,
                "records=%d" % records] + ["%s=%s" % option
                                           for option in options.items()]

    def sluiced(self, *options, build=BUILD, env=None, **popen):
        """Starts sluiced (again); its log goes on."""
        return self._start(Process(self._sluiced(options, build), self.log,
                                   env=env, **popen))

    def _start(self, process):
        self._started.append(process)

        return process.start()

    def _sluiced(self, options, build):
        return [os.path.join(build, "sluiced"), "--dir", self.files, *options]

    def once(self, *options, build=BUILD, env=None, **popen):
        """sluiced --once: its status and what it said."""
        run = subprocess.run(self._sluiced(["--once", *options], build),
                             env={**os.environ, **(env or {})}, timeout=60,
                             text=True, capture_output=True, **popen)

        return run.returncode, run.stdout + run.stderr

    def names(self):
        return sorted(name for name in os.listdir(self.files)
                      if name.startswith("lane."))

    def status(self):
        """The lanes, as sluicectl tells them."""
        run = subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir",
                              self.files, "--json", "status"],
                             capture_output=True, text=True, timeout=30)

        return json.loads(run.stdout)["lanes"]

    def lag(self):
        """The bytes that wait for sluiced, over all lanes."""
        return sum(lane["lag"] for lane in self.status())

    def taken(self):
        """The bytes that sluiced has taken over, of the lanes that are left.
        """
        return sum(lane["tail"] for lane in self.status())


def ids(*paths):
    """The _ids in files of JSON lines, each of which must be a whole one."""
    found = []

    for path in paths:
        with open(path) as file:
            for line in file:
                if not line.endswith("\n"):
                    raise ValueError("%s ends in a torn line" % path)
                found.append(json.dumps(json.loads(line)["_id"],
                                        sort_keys=True))

    return found
