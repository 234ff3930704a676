"""`make bench`: what Sluice costs, as a table and as build/bench.json.

Every figure is taken in this one run.  Speeds on a shared machine are noise:
those with a goal are ratios within a round, or the least of several runs.
"""

import argparse
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "t", "lib"), os.path.join(ROOT, "bench")]

import egress                                       # noqa: E402
import gateway                                      # noqa: E402
import limit_req                                    # noqa: E402
import redis_limit                                  # noqa: E402
import sidecar                                      # noqa: E402

# name: (unit, goal, whether less is better); a goal may depend on what another
# figure is
GOALS = {
    "http.cpu_full_vs_bare":          ("ratio", 1.12, True),
    "http.cpu_all_vs_log":            ("ratio", 1.10, True),
    "http.rps_full_vs_bare":          ("ratio", 0.93, False),
    "http.cpu_unused_vs_bare":        ("ratio", 1.01, True),
    "http.instructions_full_vs_bare": ("ratio", None, True),
    "keys.pool_vs_fixed":             ("ratio", 1.02, True),
    "keys.instructions_pool_vs_fixed": ("ratio", None, True),
    "egress.added_p50_us":            ("us", lambda figures:
                                       figures["egress.curl_p50_us"] + 20,
                                       True),
    "egress.curl_p50_us":             ("us", None, True),
    "egress.vs_direct":               ("ratio", None, True),
    "limit.hot_ns":                   ("ns", None, True),
    "limit.1m_ns":                    ("ns", None, True),
    "limit.2threads_ns":              ("ns", None, True),
    "limit.1m_alone_ns":              ("ns", None, True),
    "limit.hot_vs_cas":               ("ratio", 2, True),
    "limit.1m_vs_cas":                ("ratio", 2, True),
    "limit.1m_alone_vs_cas":          ("ratio", None, True),
    "limit.bytes_per_key":            ("bytes", 24, True),
    "limit.vs_limit_req_1m":          ("ratio", 5, False),
    "limit.vs_redis":                 ("ratio", 50, False),
    "conn.take_give_ns":              ("ns", None, True),
    "keys.pick_256_ns":               ("ns", 1000, True),
    "keys.pick_256_round_robin_ns":   ("ns", None, True),
    "keys.pick_256_least_used_ns":    ("ns", None, True),
    "keys.pick_256_random_ns":        ("ns", None, True),
    "keys.pick_256_hash_ns":          ("ns", None, True),
    "keys.sim_failed_share":          ("share", None, True),   # beside the best
    "keys.sim_best_share":            ("share", None, True),
    "lane.push_ns":                   ("ns", 150, True),
    "lane.push_allocated":            ("bytes", 0, True),
    "drain.null_per_s":               ("records/s", 500000, False),
    "insert.vs_bare_loop":            ("ratio", 0.9, False),
    "sluiced.rss_mb":                 ("MB", 64, True),
}


def program(build, name, n):
    """What one of ours prints as "name value" lines."""
    out = subprocess.run([os.path.join(build, name), str(n)], check=True,
                         capture_output=True, text=True).stdout

    return {name: float(value)
            for name, value in (line.split() for line in out.splitlines())}


def limit_req_table(build, quick):
    """What limit_req costs for each unit that ours does, in time."""
    keys = 1000000
    times = limit_req.times(build, keys, 5 if quick else 41, 20000)

    # callgrind is slow, and a smaller tree is only some nodes less deep
    counts = limit_req.instructions(build, keys // 50 if quick else keys,
                                    500 if quick else 2000)

    print("%-24s %12s %12s" % ("a limit, 1,000,000 keys", "ns",
                               "instructions"))
    for location, title in (("none", "(a request without)"),
                            ("theirs", "limit_req"), ("ours", "sluice_limit")):
        print("%-24s %12.0f %12.0f"
              % (title, times[location], counts[location]))
    print()

    return times["theirs"] / times["ours"]


def redis_table(build, quick):
    """What Redis costs for each unit that ours does, or None without one."""
    row = redis_limit.measure(build, 20000 if quick else 1000000,
                              6400 if quick else 20000)
    if row is None:
        return None

    print("%-24s %12s %12s" % ("a sliding window", "ns", "ours: 1 to"))
    for figure, title in (("ours_ns", "ours"),
                          ("redis_ns", "Redis, one at a time"),
                          ("redis_cpu_ns", "  its CPU and client's"),
                          ("redis_pipelined_ns", "Redis, 64 at a time")):
        print("%-24s %12.0f %12.0f"
              % (title, row[figure], row[figure] / row["ours_ns"]))
    print()

    return row["redis_ns"] / row["ours_ns"]


def egress_table(build, quick):
    """What a proxy adds to a request, or nothing without one."""
    row = egress.measure(build, 3 if quick else 11, 500 if quick else 2000,
                         1 if quick else 2)
    if row is None:
        return {}

    print("%-24s %9s %9s %9s" % ("p50 us, one at a time", "direct", "by squid",
                                 "added"))
    for scheme in "http", "https":
        for title, direct, proxied in (("curl", "direct", "tunnel"),
                                       ("gateway", "gateway", "egress")):
            us = [row["%s_%s" % (scheme, path)] for path in (direct, proxied)]
            print("%-24s %9.0f %9.0f %9.0f" % (
                title + ", " + scheme, *us,
                row[scheme + ("_curl" if title == "curl" else "_added")]))
    print("%-24s %9.2f %9.2f\n" % ("gateway, cpu us", row["direct_cpu"],
                                   row["egress_cpu"]))

    return {"egress.added_p50_us": row["http_added"],
            "egress.curl_p50_us": row["http_curl"],
            "egress.vs_direct": row["vs_direct"]}


def rows(figures):
    for name, (unit, goal, less) in GOALS.items():
        if name not in figures:
            continue
        value = figures[name]
        if callable(goal):
            goal = round(goal(figures), 4)
        met = None if goal is None else (value <= goal if less
                                         else value >= goal)
        yield {"name": name, "value": round(value, 4), "unit": unit,
               "goal": goal, "met": met}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    quick = args.quick

    figures = program(args.build, "micro", 300000 if quick else 2000000)
    figures.update(program(args.build, "fill", 300000 if quick else 1500000))
    figures.update(program(args.build, "pick", 5000 if quick else 20000))
    figures.update(program(args.build, "keys_sim", 480))
    flavours, ratios = gateway.measure(args.build, 2 if quick else 25, 1)
    figures.update(ratios)

    counts = gateway.instructions(args.build, 300 if quick else 2000)
    figures["http.instructions_full_vs_bare"] = counts["full"] / counts["bare"]
    figures["keys.instructions_pool_vs_fixed"] = (counts["pool"]
                                                  / counts["fixed"])

    figures.update(sidecar.measure(args.build, 300000 if quick else 2000000,
                                   20000 if quick else 200000,
                                   1 if quick else 5))

    figures["limit.vs_limit_req_1m"] = limit_req_table(args.build, quick)
    ratio = redis_table(args.build, quick)

    if ratio is not None:
        figures["limit.vs_redis"] = ratio

    figures.update(egress_table(args.build, quick))

    print("%-10s %9s %9s %9s %9s %9s %9s" % (
        "gateway", "req/s", "cpu us", "+sluiced", "p50 us", "p99 us", "MB"))
    for name, row in flavours.items():
        print("%-10s %9.0f %9.2f %9.2f %9.0f %9.0f %9.1f" % (
            name, row["rps"], row["cpu_us"], row["all_us"], row["p50_us"],
            row["p99_us"], row["mb"]))
    print("instructions a request: %.0f bare, %.0f full; %.0f with a fixed key, "
          "%.0f with a pool's\n" % (counts["bare"], counts["full"],
                                   counts["fixed"], counts["pool"]))

    result = list(rows(figures))
    print("%-32s %12s %-10s %8s" % ("figure", "value", "unit", "goal"))
    for row in result:
        goal = "" if row["goal"] is None else "%s%g" % (
            "<= " if GOALS[row["name"]][2] else ">= ", row["goal"])
        print("%-32s %12.2f %-10s %8s %s" % (
            row["name"], row["value"], row["unit"], goal,
            {None: "", True: "met", False: "NOT MET"}[row["met"]]))

    with open(os.path.join(args.build, "bench.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
