"""nginx with a configuration of its own, in a folder of its own."""

import os
import re
import shutil
import signal
import subprocess

from . import ports, process
from .process import Failed, wait_for


class Nginx:
    """One nginx, from its configuration text on.

    The text is a whole nginx.conf without `daemon`, `pid`, `error_log`,
    `user` and `load_module`: these are set here.  Relative paths in it are
    below `dir`.  `ready`, a port, is waited for at start.

    It runs as a daemon, as operators have it: a master in the foreground
    would ignore the signal to upgrade, and what a module does before it is a
    daemon would not be seen.  All its processes are one group, also those of
    an upgrade and the orphans of a master that was killed.
    """

    def __init__(self, dir, conf_text, binary="nginx", modules=(), ready=None,
                 user=None, log_level="info", env=None):
        self.dir = os.path.abspath(dir)
        self.binary = shutil.which(binary) or os.path.abspath(binary)
        self.modules = [os.path.abspath(module) for module in modules]
        self.ready = ready
        self.user = user
        self.log_level = log_level
        self.env = {**os.environ, **(env or {})}
        self.group = None

        self.conf = os.path.join(self.dir, "nginx.conf")
        self.pid_file = os.path.join(self.dir, "nginx.pid")
        self.error_log = os.path.join(self.dir, "error.log")

        for name in "logs", "temp":
            os.makedirs(os.path.join(self.dir, name), exist_ok=True)

        self.configure(conf_text)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def configure(self, conf_text):
        """Writes the configuration; it takes effect with reload()."""
        head = ["load_module %s;" % module for module in self.modules]
        head += ["pid %s;" % self.pid_file,
                 "error_log %s %s;" % (self.error_log, self.log_level)]

        # without root there is no choice, and nginx warns of the directive
        if self.user and os.getuid() == 0:
            head.append("user %s;" % self.user)

        # a distribution's binary has these in /var, for root only
        http = {name + "_temp_path": "temp/" + name for name in
                ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")}
        http["access_log"] = "logs/access.log"

        text = "".join(" %s %s;" % (name, path) for name, path in http.items()
                       if name not in conf_text)

        with open(self.conf, "w") as conf:
            conf.write("\n".join(head) + "\n")
            conf.write(re.sub(r"(?m)^(\s*http\s*\{)",
                              lambda found: found[0] + text, conf_text, 1))

    def test(self):
        """nginx -t: returns (exit code, what it says)."""
        run = self._run("-t")

        return run.returncode, run.stdout

    @property
    def master(self):
        """The pid of the current master, after upgrade() the new one's."""
        try:
            with open(self.pid_file) as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def masters(self):
        """The pids of its masters: two while an upgrade goes on."""
        return [pid for pid in self.members()
                if _title(pid).startswith("nginx: master process")]

    def workers(self, master=None):
        """The pids of a master's workers that were not told to finish."""
        return [pid for pid in process.children(master or self.master or -1)
                if _title(pid) == "nginx: worker process"]

    def members(self):
        """The pids of all its processes, orphans included."""
        return process.members(self.group) if self.group else []

    def start(self, timeout=30):
        """Starts nginx; returns self when its workers are there."""
        if self.members():
            raise Failed("nginx is running already")

        # one is left by a master that was killed
        if os.path.exists(self.pid_file):
            os.unlink(self.pid_file)

        with process.signals_held() as before:
            run = self._run(preexec_fn=lambda: signal.pthread_sigmask(
                signal.SIG_SETMASK, before))

            if run.returncode == 0 and wait_for(lambda: self.master, timeout):
                self.group = self.master
                process.adopt(self.group)

        if run.returncode != 0:
            raise Failed("nginx exited with %d\n%s"
                         % (run.returncode, run.stdout))

        self._expect(lambda: self.workers() and (
            self.ready is None or ports.accepts(self.ready)),
            timeout, "nginx is not ready")

        return self

    def stop(self, number=signal.SIGQUIT, timeout=15):
        """Ends every process: SIGQUIT lets requests finish, SIGTERM not.

        Returns False if they had to be killed.
        """
        if self.group is None:
            return True

        for pid in self.masters():
            _signal(pid, number)

        # the workers of a killed master are nobody's
        if not self.masters():
            process.kill_group(self.group, number)

        ended = wait_for(lambda: not self.members(), timeout)
        self.kill_all()

        return ended

    def reload(self, timeout=30):
        """HUP: returns when new workers serve and the old ones finish.

        Raises Failed if nginx keeps the old configuration.
        """
        old = set(self.workers())
        seen = len(self.errors())
        _signal(self.master, signal.SIGHUP)

        def refused():
            return "[emerg]" in self.errors()[seen:]

        def changed():
            now = set(self.workers())
            return refused() or (now and not now & old)

        self._expect(changed, timeout, "no new workers")

        if refused():
            raise Failed("nginx refused\n" + self.errors()[seen:])

    def upgrade(self, timeout=30):
        """USR2: starts a second master, of the binary that is there now.

        Returns the pid of the old one.  Both serve, until one is ended by
        finish_upgrade() or undo_upgrade().
        """
        old = self.master
        _signal(old, signal.SIGUSR2)

        self._expect(lambda: self.master not in (None, old) and self.workers(),
                     timeout, "no new master")

        return old

    def retire(self, old, timeout=30):
        """WINCH: ends the old master's workers, and keeps it for the way back.
        """
        _signal(old, signal.SIGWINCH)
        self._expect(lambda: not self.workers(old), timeout,
                     "old workers remain")

    def finish_upgrade(self, old, timeout=30):
        """Ends the old master and its workers."""
        _signal(old, signal.SIGQUIT)
        self._expect(lambda: not process.parent_and_group(old), timeout,
                     "the old master remains")

    def undo_upgrade(self, old, timeout=30):
        """Ends the new master; the old one serves again."""
        new = self.master

        # it would start a second set of workers beside one it has
        if not self.workers(old):
            _signal(old, signal.SIGHUP)
            self._expect(lambda: self.workers(old), timeout,
                         "no workers of the old master")

        _signal(new, signal.SIGQUIT)
        self._expect(lambda: self.master == old
                     and not process.parent_and_group(new), timeout,
                     "the old master did not take over")

    def kill_worker(self, timeout=30):
        """Kills one worker; returns its pid once another has replaced it."""
        workers = self.workers()
        _signal(workers[0], signal.SIGKILL)

        def replaced():
            now = self.workers()
            return workers[0] not in now and len(now) == len(workers)

        self._expect(replaced, timeout, "no new worker")

        return workers[0]

    def kill_master(self, timeout=30):
        """Kills the master alone: its workers serve on, as orphans."""
        master = self.master
        _signal(master, signal.SIGKILL)
        self._expect(lambda: not process.parent_and_group(master), timeout,
                     "the master remains")

    def kill_all(self):
        """Kills every process at once."""
        process.kill_group(self.group)
        wait_for(lambda: not self.members(), 10)
        process.release(self.group)
        self.group = None

    def errors(self):
        """The text of the error log so far."""
        try:
            with open(self.error_log, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def _run(self, *options, **popen):
        # a daemon keeps standard error open, a pipe would never end
        output = os.path.join(self.dir, "output.log")

        with open(output, "w") as log:
            run = subprocess.run(
                [self.binary, "-p", self.dir + "/", "-c", self.conf, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env, timeout=60, **popen)

        with open(output, errors="replace") as log:
            run.stdout = log.read()

        return run

    def _expect(self, condition, timeout, complaint):
        if not wait_for(condition, timeout):
            raise Failed("%s after %s s\n%s"
                         % (complaint, timeout, self.errors()[-3000:]))


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _title(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().split(b"\0")[0].decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
