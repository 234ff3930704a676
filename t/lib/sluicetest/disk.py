"""A small disk of its own, which a test fills and frees."""

import ctypes
import os
import subprocess

CLONE_NEWNS = 0x00020000

_own_mounts = False


class Unsupported(Exception):
    """This machine does not let us mount anything."""


class Disk:
    """A tmpfs of so many bytes, mounted on a folder that it makes.

    Raises Unsupported, with the reason, where one cannot be had.
    """

    def __init__(self, path, size):
        self.path = path
        self._filler = os.path.join(path, "filler")

        _keep_mounts_to_ourselves()
        os.makedirs(path, exist_ok=True)

        run = subprocess.run(["mount", "-t", "tmpfs", "-o",
                              "mode=755,size=%d" % size, "sluice-test", path],
                             capture_output=True, text=True)

        if run.returncode != 0:
            raise Unsupported((run.stdout + run.stderr).strip()
                              or "mount: exit %d" % run.returncode)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        # lazy: a process that failed to end must not keep us from going on
        subprocess.run(["umount", "-l", self.path], check=False,
                       capture_output=True)

    def room(self):
        """The bytes that are left."""
        stat = os.statvfs(self.path)

        return stat.f_bavail * stat.f_frsize

    def fill(self, leave=0):
        """Takes all the room but so many bytes, by a file of its own."""
        self.free()
        size = self.room() - leave

        if size > 0:
            with open(self._filler, "wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, size)

    def free(self):
        """Gives back what fill() took."""
        try:
            os.unlink(self._filler)
        except FileNotFoundError:
            pass


def _keep_mounts_to_ourselves():
    """Mounts end with this program and what it started, however it ends."""
    global _own_mounts

    if _own_mounts:
        return

    libc = ctypes.CDLL(None, use_errno=True)

    if libc.unshare(CLONE_NEWNS) != 0:
        raise Unsupported("unshare: " + os.strerror(ctypes.get_errno()))

    # else what is mounted here would be passed on to everybody
    run = subprocess.run(["mount", "--make-rprivate", "/"],
                         capture_output=True, text=True)

    if run.returncode != 0:
        raise Unsupported(run.stderr.strip())

    _own_mounts = True
