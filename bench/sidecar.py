"""What sluiced makes of full lanes: into nothing, and into a database."""

import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from sluicetest.database import Database
from sluicetest.process import Process


def _fill(build, files, records, **options):
    """Lanes with that many records in them, and no owner."""
    words = {"dir": files, "records": records, "lanes": 2, **options}
    subprocess.run([os.path.join(build, "producer")]
                   + ["%s=%s" % word for word in words.items()],
                   check=True, capture_output=True)


def _ring(records):
    """Bytes that hold that many in two lanes, and what is reserved."""
    return (records * 512 // 4096 + 1024) * 4096


def _drain(build, files, sink, **env):
    """Seconds that sluiced takes to empty them."""
    start = time.monotonic()
    subprocess.run([os.path.join(build, "sluiced"), "--dir", files, "--once",
                    "--log-level", "error"]
                   + (["--sink", sink] if sink else []),
                   check=True, env={**os.environ, **env})
    seconds = time.monotonic() - start

    left = [name for name in os.listdir(files) if name.startswith("lane.")]
    if left:
        raise SystemExit("bench: sluiced left %s" % left)

    return seconds


def _rss(build, dir, files, records):
    """Most resident memory of sluiced in MB, while two rings run full."""
    process = Process([os.path.join(build, "sluiced"), "--dir", files,
                       "--sink", "null:"], os.path.join(dir, "rss.log"))
    with process.start():
        _fill(build, files, records)
        with open("/proc/%d/status" % process.pid) as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024


def _loop(build, uri, records):
    """Records a second of the bare libmongoc loop."""
    out = subprocess.run([os.path.join(build, "insert_loop"), uri,
                          str(records)],
                         check=True, capture_output=True, text=True).stdout

    return json.loads(out)["rate"]


def measure(build, drained, inserted, rounds):
    """Returns {name: figure}."""
    dir = tempfile.mkdtemp(prefix="sluice-bench.")
    files = "/dev/shm/" + os.path.basename(dir)
    os.makedirs(files, 0o770)

    try:
        rates = []
        for _ in range(rounds):
            _fill(build, files, drained, ring=_ring(drained))
            rates.append(drained / _drain(build, files, "null:"))

        figures = {"drain.null_per_s": statistics.median(rates),
                   "sluiced.rss_mb": _rss(build, dir, files, drained)}

        with Database(os.path.join(dir, "database"), bench=True) as database:
            ratios = []
            for _ in range(rounds):
                bare = _loop(build, database.uri, inserted)
                _fill(build, files, inserted, ring=_ring(inserted))
                seconds = _drain(build, files, None,
                                 SLUICE_MONGODB_URI=database.uri)
                ratios.append(inserted / seconds / bare)
            figures["insert.vs_bare_loop"] = statistics.median(ratios)

        return figures
    finally:
        shutil.rmtree(dir, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)
