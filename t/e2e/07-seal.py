"""sluicectl seal: what it makes is opened by another hand (libcrypto by
ctypes), a master key is made once and for its owner only, and nothing is ever
shown of what is sealed."""

import base64
import ctypes
import ctypes.util
import os
import pty
import resource
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.stack import BUILD                  # noqa: E402

CTL = os.path.join(BUILD, "sluicectl")
PLAIN = "a sk-plain-1\nb sk-plain-2\n"
MOST = 1024 * 1024
WORD = b"sluice-sealed-1"

crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))

for name in "EVP_CIPHER_CTX_new", "EVP_aes_256_gcm":
    getattr(crypto, name).restype = ctypes.c_void_p


def unseal(key, sealed):
    """The plain text, or None."""
    word, _, text = sealed.partition(b" ")
    raw = base64.b64decode(text, validate=False)
    nonce, body, tag = raw[:12], raw[12:-16], raw[-16:]
    out, n = ctypes.create_string_buffer(len(body) + 16), ctypes.c_int()
    ctx = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    crypto.EVP_DecryptInit_ex(ctx, ctypes.c_void_p(crypto.EVP_aes_256_gcm()),
                              None, key, nonce)
    crypto.EVP_DecryptUpdate(ctx, None, ctypes.byref(n), word, len(word))
    crypto.EVP_DecryptUpdate(ctx, out, ctypes.byref(n), body, len(body))
    crypto.EVP_CIPHER_CTX_ctrl(ctx, 0x11, 16, tag)
    well = crypto.EVP_DecryptFinal_ex(ctx, out, ctypes.byref(n)) == 1
    crypto.EVP_CIPHER_CTX_free(ctx)

    return out.raw[:len(body)] if well and word == WORD else None


def seal(*arguments, plain=PLAIN, **more):
    return subprocess.run([CTL, "seal", *arguments], capture_output=True,
                          input=plain.encode(), timeout=30, **more)


def write(path, text, mode=0o600):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)

    return path


with tempfile.TemporaryDirectory(prefix="sluice-seal.") as dir:
    master = os.path.join(dir, "master")

    os.umask(0)
    run = seal("--new-key", master)
    tap.is_((run.returncode, run.stderr), (0, b""), "a new master key")
    tap.is_(stat.S_IMODE(os.stat(master).st_mode), 0o600,
            "for its owner only, whatever the umask")
    with open(master) as file:
        text = file.read()
    key = bytes.fromhex(text)
    tap.is_((len(text), len(key)), (65, 32), "of 32 bytes")
    tap.is_(unseal(key, run.stdout), PLAIN.encode(), "it opens what is sealed")
    tap.is_(run.stdout.count(b"\n"), 1, "which is one line")

    run = seal("--new-key", master)
    tap.is_((run.returncode, run.stdout), (1, b""), "not over another file")
    tap.ok(b"there already" in run.stderr, "and says so")
    with open(master) as file:
        tap.is_(file.read(), text, "which stays as it is")

    link = os.path.join(dir, "link")
    os.symlink(os.path.join(dir, "nowhere"), link)
    tap.is_((seal("--new-key", link).returncode,
             os.path.exists(os.path.join(dir, "nowhere"))), (1, False),
            "nor through a link")

    other = os.path.join(dir, "other")
    first, second = seal("--key", master), seal("--key", master)
    tap.is_([unseal(key, run.stdout) for run in (first, second)],
            [PLAIN.encode()] * 2, "under a master key that is there")
    tap.ok(first.stdout != second.stdout, "no two are alike")
    seal("--new-key", other)
    with open(other) as file:
        tap.is_(unseal(bytes.fromhex(file.read()), first.stdout), None,
                "another master key does not open it")

    plain = write(os.path.join(dir, "plain"), PLAIN)
    run = seal("--key", master, plain, plain="")
    tap.is_(unseal(key, run.stdout), PLAIN.encode(), "a file that is named")

    run = seal("--key", master, plain="x" * MOST)
    tap.is_(unseal(key, run.stdout), b"x" * MOST, "as much as there may be")

    # what is wrong says so, without a word of what is secret

    for name, arguments, plain, code, said in [
            ("no master key", (), PLAIN, 2, "--key"),
            ("two of them", ("--key", master, "--new-key", other), PLAIN, 2,
             "--key"),
            ("a master key that is missing", ("--key", dir + "/none"), PLAIN,
             1, "No such file"),
            ("one that is a directory", ("--key", dir), PLAIN, 1,
             "Is a directory"),
            ("one that is too short", ("--key", write(
                dir + "/short", text[:63] + "\n")), PLAIN, 1,
             "64 hex digits"),
            ("one that is too long", ("--key", write(
                dir + "/long", text * 9)), PLAIN, 1, "64 hex digits"),
            ("one that is none", ("--key", write(
                dir + "/none-such", "g" + text[1:])), PLAIN, 1,
             "64 hex digits"),
            ("an empty one", ("--key", write(dir + "/empty", "")), PLAIN, 1,
             "64 hex digits"),
            ("nothing to seal", ("--key", master), "", 1, "nothing to seal"),
            ("too much to seal", ("--key", master), "x" * (MOST + 1), 1,
             "more than 1048576"),
            ("no file to seal", ("--key", master, dir + "/none"), "", 1,
             "No such file"),
            ("two files", ("--key", master, "a", "b"), "", 2, "seal [FILE]"),
            ("nothing to seal, and a new key",
             ("--new-key", dir + "/unmade"), "", 1, "nothing to seal"),
            ("no place for a new key", ("--new-key", dir + "/no/where"),
             PLAIN, 1, "No such file")]:
        run = seal(*arguments, plain=plain)
        tap.is_((run.returncode, run.stdout, said.encode() in run.stderr),
                (code, b"", True), name) or tap.note(run.stderr)
        tap.ok(b"sk-" not in run.stderr and text[1:20].encode()
               not in run.stderr, "and nothing secret")

    tap.is_(os.path.exists(dir + "/unmade"), False, "no key is made in vain")

    # a master key that others may read

    for mode, warned in (0o600, False), (0o640, False), (0o604, True), \
            (0o606, True):
        os.chmod(master, mode)
        run = seal("--key", master)
        tap.is_((run.returncode, b"warning" in run.stderr,
                 unseal(key, run.stdout)), (0, warned, PLAIN.encode()),
                "mode %03o" % mode)

    # the answer that cannot be written

    with open("/dev/full", "w") as full:
        run = subprocess.run([CTL, "seal", "--key", master], stdout=full,
                             stderr=subprocess.PIPE, input=PLAIN.encode())
        tap.is_((run.returncode, b"No space left" in run.stderr), (1, True),
                "a full disk is told")

    # no core: while it has secrets

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    waits = subprocess.Popen([CTL, "seal", "--key", master],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             preexec_fn=lambda: resource.setrlimit(
                                 resource.RLIMIT_CORE, (hard, hard)))
    waits.stdin.write(PLAIN.encode())
    waits.stdin.flush()

    def limits():
        with open("/proc/%d/limits" % waits.pid) as file:
            return [line.split()[4:6] for line in file
                    if line.startswith("Max core")]

    tap.ok(wait_for(lambda: limits() == [["0", "0"]], 5), "it leaves no core")
    waits.communicate(timeout=10)

    # typed on a terminal

    side, terminal = pty.openpty()
    typed = subprocess.Popen([CTL, "seal", "--key", master], stdin=terminal,
                             stdout=subprocess.PIPE, stderr=terminal,
                             close_fds=True)
    shown = b""
    while b"Ctrl-D" not in shown:
        shown += os.read(side, 4096)
    time.sleep(0.1)
    os.write(side, PLAIN.encode() + b"\x04")
    sealed = typed.communicate(timeout=10)[0]
    os.write(terminal, b"what was shown")
    while b"what was shown" not in shown:
        shown += os.read(side, 4096)
    tap.is_(unseal(key, sealed), PLAIN.encode(), "typed, it is sealed")
    tap.is_(b"sk-plain" in shown, False, "and not shown") or tap.note(shown)

    typed = subprocess.Popen(
        ["sh", "-c", '"$0" seal --key "$1"; stty -a', CTL, master],
        stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, text=True)
    shown = b""
    while b"Ctrl-D" not in shown:
        shown += os.read(side, 4096)
    time.sleep(0.1)
    with open("/proc/%d/task/%d/children" % (typed.pid, typed.pid)) as file:
        os.kill(int(file.read().split()[0]), 15)
    out = typed.communicate(timeout=10)[0]
    tap.ok(" echo " in out, "ended, it gives the terminal back") \
        or tap.note(out)

tap.done()
