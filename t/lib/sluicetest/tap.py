"""Test results as prove reads them."""

import sys

_state = {"run": 0, "failed": 0}


def ok(true, name):
    """One result; returns whether it is a good one."""
    _state["run"] += 1

    if not true:
        _state["failed"] += 1

    print("%sok %d - %s" % ("" if true else "not ", _state["run"], name),
          flush=True)

    return bool(true)


def is_(got, expected, name):
    """A result that is good if both values are equal; shows them if not."""
    if not ok(got == expected, name):
        note("     got: %r" % (got,))
        note("expected: %r" % (expected,))
        return False

    return True


def skip(name, why):
    """A result that could not be had on this machine."""
    _state["run"] += 1
    print("ok %d - %s # skip %s" % (_state["run"], name, why), flush=True)


def note(text):
    """Lines for whoever reads the output; no result."""
    for line in str(text).splitlines():
        print("# " + line, flush=True)


def done():
    """Prints the plan and ends the program; not called, it reads as failed."""
    print("1..%d" % _state["run"], flush=True)
    sys.exit(1 if _state["failed"] or not _state["run"] else 0)
