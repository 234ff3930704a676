"""What pools hold, and what was recorded, as the tools tell them."""

import json
import os
import subprocess

from .stack import BUILD


def members(files):
    """{(pool, id): what sluicectl tells of the key}"""
    run = subprocess.run([os.path.join(BUILD, "sluicectl"), "--dir", files,
                          "--json", "status"], capture_output=True, text=True,
                         timeout=30)
    told = json.loads(run.stdout)

    return {(row["pool"], row["member"]): row for row in told["pools"]}


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
