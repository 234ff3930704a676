"""Readers trust nothing: with any byte of a file changed, or the file cut
short, sluicectl and sluiced do not crash, do not hang, and say what they
skipped."""

import json
import os
import random
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.pools import as_proxies             # noqa: E402
from sluicetest.stack import BUILD, Stack           # noqa: E402

HEADER = 4096
CRC_COVERS = 508            # bytes of a header; behind it there is nothing
MEMBERS = HEADER + 4096     # a pool's, two of them in use, of 320 bytes each
STEP = int(os.environ.get("SLUICE_FLIP_STEP", "1"))

random.seed(60)


def offsets(size, kind):
    """Every STEP-th byte of what is dense, some of the rest."""
    first = random.randrange(STEP)
    dense = list(range(first, CRC_COVERS + 4, STEP))
    dense += range(HEADER + first, min(HEADER + 512, size), STEP)
    if kind == "pool":
        dense += range(MEMBERS + first, MEMBERS + 640, STEP)
    rest = range(HEADER + 512, size)

    return dense + sorted(random.sample(rest, min(len(rest), 600 // STEP)))


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)

    return done.returncode, done.stdout, done.stderr


def ctl(files, what):
    return run(os.path.join(BUILD, "sluicectl"), "--dir", files, "--json",
               *what.split())


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << random.randrange(8))]))

    return byte


def put(path, offset, byte):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes([byte]))


def commands(name):
    """Those of sluicectl that read this file."""
    verb = random.choice(["disable", "enable", "cool --for 1s"])
    more = {"lane": ["requests"], "zone": ["hottest"],
            "pool": ["keys --all", "key --all %s api a" % verb],
            "proxies": ["proxies --all", "proxy --all %s eu a" % verb]}

    return ["status"] + more.get(name.partition(".")[0], [])


def flips_of(path, name, files):
    """sluicectl over each flip of one file."""
    crashed, silent, garbled, count = [], [], [], 0

    for offset in offsets(os.path.getsize(path), name.partition(".")[0]):
        byte = flip(path, offset)
        for what in commands(name):
            count += 1
            code, out, said = ctl(files, what)
            if code not in (0, 1):
                crashed.append((offset, what, code))
                continue
            try:
                skipped = json.loads(out).get("skipped", [])
            except ValueError:
                garbled.append((offset, what))
                continue
            if offset < CRC_COVERS and name not in str(skipped):
                silent.append((offset, what))
        put(path, offset, byte)

    kind = name.partition(".")[0]
    tap.is_(crashed, [], "%s: sluicectl lives, %d times" % (kind, count))
    tap.is_(garbled, [], "%s: its JSON is JSON" % kind)
    tap.is_(silent[:5], [], "%s: a damaged header is told" % kind)


with Stack("flipped", ring="64k open=4", zone="16k",
           http="sluice_limit_conn_zone $sluice_client zone=par:36k;",
           location="sluice_limit_conn zone=par limit=100;") as stack:
    load = stack.load(40, connections=1)
    load.wait(30)
    stack.sluiced.kill9()
    load = stack.load(40, connections=1)
    load.wait(30)
    stack.gateway.kill_all()

    names = sorted(os.listdir(stack.files))
    lanes = [name for name in names if name.startswith("lane.")]
    lane = max(lanes, key=lambda name: os.path.getmtime(
        os.path.join(stack.files, name)))

    as_proxies(stack.files, "api", "eu")

    for name in lane, "workers", "zone.rpm.1", "conn.par.1", "pool.api.1", \
            "proxies.eu.1":
        flips_of(os.path.join(stack.files, name), name, stack.files)

    # sluiced takes what it reads away: a copy each time

    work = stack.files + ".copy"
    crashed, silent, count = [], [], 0
    path = os.path.join(stack.files, lane)
    size = os.path.getsize(path)
    cases = [("flip", offset) for offset in offsets(size, "lane")[::2]] \
        + [("cut", length) for length in (0, 1, 511, 512, 4095, 4096, 8192,
                                          size // 2, size - 1)]

    for what, offset in cases:
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work)
        copy = os.path.join(work, lane)
        shutil.copyfile(path, copy)
        if what == "flip":
            flip(copy, offset)
        else:
            os.truncate(copy, offset)

        count += 1
        code, out, said = run(os.path.join(BUILD, "sluiced"), "--dir", work,
                              "--sink", "null:", "--quarantine", stack.dir,
                              "--once", "--drain-timeout", "2s")
        if code < 0:
            crashed.append((what, offset, code))
        elif (what == "cut" or offset < CRC_COVERS) and lane not in said:
            silent.append((what, offset, said))

    shutil.rmtree(work, ignore_errors=True)
    tap.is_(crashed, [], "sluiced lives, %d times" % count)
    tap.is_(silent[:3], [], "and tells which lane it cannot read")

tap.done()
