"""Processes that do not outlive the program that started them.

Each is the leader of a process group of its own.  At exit, after exceptions
and on SIGINT, SIGTERM and SIGHUP, the groups that still have members are
ended: asked first, then killed.  Should this program itself be killed, a
helper that watches a pipe from it kills them.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time


class Failed(Exception):
    """A process ended or was too late; the text has the end of its log."""


class Process:
    """One server, which can be started again after it ended.

    `argv` is the command, `log` the file its output is appended to; further
    arguments are subprocess's.
    """

    def __init__(self, argv, log, env=None, cwd=None, name=None, **popen):
        self.argv = [str(arg) for arg in argv]
        self.log = str(log)
        self.env = env
        self.cwd = cwd
        self.name = name or os.path.basename(self.argv[0])
        self._options = popen
        self._popen = None

    def __enter__(self):
        if self._popen is None:
            self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    @property
    def pid(self):
        """The pid of the last start, None before the first one."""
        return self._popen and self._popen.pid

    @property
    def returncode(self):
        """As subprocess has it: negative for a signal; None if running."""
        return self._popen and self._popen.poll()

    @property
    def running(self):
        return self._popen is not None and self._popen.poll() is None

    def start(self):
        """Starts the process; returns self, without waiting for anything."""
        if self.running:
            raise Failed("%s is running already" % self.name)

        env = None if self.env is None else {**os.environ, **self.env}

        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=env, cwd=self.cwd, start_new_session=True,
                **self._options)

        adopt(self._popen.pid)

        return self

    def wait_ready(self, ready, timeout=30):
        """Calls ready() until it is true.

        Raises Failed if the process ends before, or after timeout seconds.
        """
        deadline = time.monotonic() + timeout

        while not ready():
            if not self.running:
                raise Failed("%s exited with %s\n%s"
                             % (self.name, self.returncode, self.tail()))

            if time.monotonic() > deadline:
                raise Failed("%s is not ready after %s s\n%s"
                             % (self.name, timeout, self.tail()))

            time.sleep(0.02)

        return self

    def wait(self, timeout=30):
        """Waits for the process to end by itself; returns its exit code."""
        try:
            return self._popen.wait(timeout)

        except subprocess.TimeoutExpired:
            raise Failed("%s still runs after %s s\n%s"
                         % (self.name, timeout, self.tail())) from None

    def send(self, number):
        """Sends a signal to the process alone, not to its children."""
        self._popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=15):
        """Ends the process and its group; returns its exit code.

        What has not ended after timeout seconds is killed.
        """
        if self._popen is None:
            return None

        # a stopped process would not see it
        self.send(number)
        self.send(signal.SIGCONT)

        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pass

        self.kill_group()

        return self.returncode

    def kill9(self):
        """Kills the process, and leaves its children as they are."""
        self.send(signal.SIGKILL)
        self._popen.wait()

    def kill_group(self):
        """Kills the process and all its children at once."""
        group = self._popen.pid

        # done before: by now the number may be somebody else's
        if group not in _groups:
            return

        kill_group(group)
        self._popen.wait()
        release(group)

    def output(self):
        """What the process has written so far, over all its starts."""
        try:
            with open(self.log, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def tail(self, lines=30):
        """The last lines of its output, each marked with its name."""
        return "\n".join("%s: %s" % (self.name, line)
                         for line in self.output().splitlines()[-lines:])


def wait_for(condition, timeout):
    """Calls condition() until it is true; returns False if that takes longer
    than timeout seconds.
    """
    deadline = time.monotonic() + timeout

    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)

    return True


def parent_and_group(pid):
    """Returns (parent pid, process group), or None for one that has ended."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            # the name, in parentheses, may hold anything
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None

    if fields[0] in "ZX":
        return None

    return int(fields[1]), int(fields[2])


def children(parent):
    """Returns the pids of the children of a process, in ascending order."""
    return sorted(pid for pid in _pids()
                  if (parent_and_group(pid) or (0,))[0] == parent)


def members(group):
    """Returns the pids of a process group, in ascending order."""
    return sorted(pid for pid in _pids()
                  if (parent_and_group(pid) or (0, 0))[1] == group)


def _pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


# The groups that were started and not seen to end.  The keeper's standard
# input has one line for each change, with all of them; its end means that this
# program is gone.

KEEPER = """
    trap '' INT TERM HUP
    groups=
    while read -r line; do groups=$line; done
    for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""

_groups = []
_owner = os.getpid()
_keeper = None
_lock = threading.RLock()


def adopt(group):
    """Has a process group ended with this program."""
    global _keeper

    with _lock:
        if _keeper is None:
            _keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True)

        _groups.append(group)
        _tell_keeper()


def release(group):
    """Forgets a group that has ended."""
    with _lock:
        if group in _groups:
            _groups.remove(group)
            _tell_keeper()


def _tell_keeper():
    line = "%s\n" % " ".join(map(str, _groups))
    _keeper.stdin.write(line.encode())
    _keeper.stdin.flush()


def kill_group(group, number=signal.SIGKILL):
    """Sends a signal to all members of a group, if there are any."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


@atexit.register
def _end_all():
    # a forked child has the list too, but not the duty
    if os.getpid() != _owner:
        return

    with _lock:
        # the last started first: it may depend on the others
        for group in reversed(_groups):
            kill_group(group, signal.SIGTERM)

        deadline = time.monotonic() + 5

        while (time.monotonic() < deadline
               and any(members(group) for group in _groups)):
            time.sleep(0.05)

        for group in _groups:
            if members(group):
                kill_group(group)

        _groups.clear()

        if _keeper is not None:
            _keeper.stdin.close()
            _keeper.wait()


def _on_signal(number, frame):
    # SystemExit, so that finally clauses and _end_all() run
    if os.getpid() == _owner:
        sys.exit(128 + number)

    os._exit(128 + number)


_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

for _number in _SIGNALS:
    signal.signal(_number, _on_signal)


@contextlib.contextmanager
def signals_held():
    """Nothing that runs within is ended between a start and adopt()."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
