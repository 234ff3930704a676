"""--retention: how long MongoDB keeps records is what it says, as a TTL index
on the records' own time: none with 0 and without it, the seconds it has with
a value, others with another value.  One that is there is not taken away, and
with 0 that is told: records would vanish although nobody asked for it."""

import datetime
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.lanes import Lanes                  # noqa: E402

RECORDS = 10
STILL = "still removes records"
INDEXES = {"_id_", "time_1", "client_1_time_-1", "request_id_1"}

# a collection each: what sluiced is told, one start after another, and the
# expireAfterSeconds that the index has then

CASES = {
    "life": [((), None), (("1h",), 3600), (("3600",), 3600), (("2h",), 7200),
             (("0",), 7200), ((), 7200), (("90d",), 90 * 86400)],
    "zero": [(("0",), None)],
    # less than MongoDB's unit is no "for ever"
    "short": [(("1ms",), 1)],
}


def is_time(record):
    """Whether what the index is on is what the record itself tells."""
    since = record["time"] - datetime.datetime(1970, 1, 1)

    return since // datetime.timedelta(milliseconds=1) \
        == record["time_us"] // 1000


with tempfile.TemporaryDirectory(prefix="sluice-retention.") as dir, \
        Database(os.path.join(dir, "database")) as database, \
        Lanes(dir) as lanes:

    mongodb = database.client()[database.name]

    def once(name, *retention, **env):
        options = ["--retention", *retention] if retention else []
        return lanes.once("--database", database.name, "--collection", name,
                          "--quarantine", dir, *options,
                          env={"SLUICE_MONGODB_URI": database.uri, **env})

    for name, steps in CASES.items():
        for n, (retention, expire) in enumerate(steps):
            told = "%s, %d: %s" % (name, n + 1, " ".join(retention) or "none")
            lanes.fill(RECORDS)
            code, said = once(name, *retention)
            indexes = mongodb[name].index_information()

            # a TTL on anything else would count as well
            ttl = {index: what["expireAfterSeconds"]
                   for index, what in indexes.items()
                   if "expireAfterSeconds" in what}

            if not tap.is_((code, ttl, set(indexes)),
                           (0, {} if expire is None else {"time_1": expire},
                            INDEXES), told):
                tap.note(said)

            unwanted = expire is not None and retention in ((), ("0",))
            tap.is_(("%s (TTL of %s s)" % (STILL, expire) in said,
                     STILL in said), (unwanted, unwanted),
                    "%s: %s" % (told, "what is not asked for is told"
                                if unwanted else "nothing to tell"))

    # what a TTL needs: a date, the record's own

    records = list(mongodb.life.find({}, {"time": 1, "time_us": 1}))
    tap.is_(len(records), RECORDS * len(CASES["life"]),
            "the records are there")
    tap.is_([r for r in records if not is_time(r)][:2], [],
            "their time is a date, the one of the request")
    keys = mongodb.life.index_information()["time_1"]["key"]
    tap.is_([tuple(key) for key in keys], [("time", 1)],
            "and what the index is on")

    once("environment", SLUICE_RETENTION="3h")
    tap.is_(mongodb.environment.index_information()["time_1"]
            .get("expireAfterSeconds"), 10800, "the environment is asked")

    for value in "-1", "1x", "", "24856d", "1.5h", "forever":
        code, said = once("refused", value)
        tap.is_((code, "--retention" in said, "refused" in
                 mongodb.list_collection_names()), (2, True, False),
                "%r is refused, and nothing is made" % value)

tap.done()
