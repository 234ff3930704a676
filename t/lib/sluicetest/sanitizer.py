"""What an nginx under ASan and UBSan has to say; of another one, nothing."""

import glob
import os
import re

from . import tap


def env(dir):
    """The environment that has its reports written into that directory."""
    said = os.path.join(dir, "sanitizer")

    return {"ASAN_OPTIONS": "detect_leaks=0:log_path=" + said,
            "UBSAN_OPTIONS": "print_stacktrace=1:log_path=" + said}


def check(dir, nginx, *bad, name="and no worker has died"):
    """Two tests: no report, and no line of a death, or like any of bad, in the
    log."""
    reports = ""

    for path in glob.glob(os.path.join(dir, "sanitizer*")):
        with open(path) as file:
            reports += file.read()

    tap.is_(reports[:3000], "", "no sanitizer has anything to say")
    tap.is_(re.findall(r"(?m)^.*(?:%s).*$" % "|".join((
        "exited on signal", "exited with code [^0]", "Sanitizer",
        "runtime error", *bad)), nginx.errors())[:5], [], name)
