"""What pools hold, and what was recorded, as the tools tell them."""

import json
import os
import struct
import subprocess

from .stack import BUILD


HEADER = 4096
KIND, NAME, CRC = 12, 64, 504   # in a header
PROXIES = 6                     # the kind of file


def members(files, kind="keys"):
    """{(pool, id): what sluicectl tells of the member}"""
    run = subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir", files,
                          "--json", "status"], capture_output=True, text=True,
                         timeout=30)
    told = json.loads(run.stdout)

    return {(row["pool"], row["member"]): row for row in told["pools"]
            if row["kind"] == kind}


def crc32c(data):
    crc = 0xffffffff

    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)

    return crc ^ 0xffffffff


def as_proxies(files, pool, name):
    """A pool of proxies that is like the pool of keys, and where it is: the
    two are alike but for the header's kind and name."""
    like = os.path.join(files, "pool.%s.1" % pool)

    with open(like, "rb") as file:
        data = bytearray(file.read())

    struct.pack_into("<I", data, KIND, PROXIES)
    struct.pack_into("64s", data, NAME, name.encode())
    struct.pack_into("<I", data, CRC, crc32c(data[:CRC]))

    path = os.path.join(files, "proxies.%s.1" % name)

    with open(path, "wb") as file:
        file.write(data)

    owner = os.stat(like)
    os.chown(path, owner.st_uid, owner.st_gid)
    os.chmod(path, 0o660)

    return path


def in_flight(files):
    """Of all keys together."""
    return sum(row["in_flight"] for row in members(files).values())


def records(files, dir):
    """All that was recorded; nginx has ended."""
    path = os.path.join(dir, "usage.json")
    subprocess.run([os.path.join(BUILD, "sluiced"), "--dir", files, "--once",
                    "--sink", "file:" + path, "--quarantine", dir],
                   check=True, capture_output=True, timeout=60)

    with open(path) as file:
        return [json.loads(line) for line in file]
