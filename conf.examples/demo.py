"""The main job on this machine: `make run`.

Starts a database, an example API, nginx with gateway.conf and sluiced, all
on free loopback ports; asks as clients would, and shows what came of it.
Stays up until Ctrl-C, or ends with --once after the printing.  Exit status 0
only if every answered request stands in the database, once.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "t", "lib"))

from bson import json_util                        # noqa: E402
from bson.binary import UuidRepresentation        # noqa: E402
from sluicetest import ports                      # noqa: E402
from sluicetest.database import Database          # noqa: E402
from sluicetest.nginx import Nginx                # noqa: E402
from sluicetest.process import Failed, Process, wait_for    # noqa: E402

JSON = json_util.RELAXED_JSON_OPTIONS.with_options(
    uuid_representation=UuidRepresentation.STANDARD)

CLIENTS = [("alice", "red", None, 5), ("bob", "blue", "pro", 4)]


def example(name, replace):
    """An example configuration with what belongs to this run put in."""
    with open(os.path.join(ROOT, "conf.examples", name)) as conf:
        text = conf.read()

    # set by sluicetest.nginx, which knows the build and the user
    text = re.sub(r"(?m)^(load_module|user)\b.*\n", "", text)

    for old, new in replace:
        if old not in text:
            raise SystemExit("%s no longer has \"%s\"" % (name, old))
        text = text.replace(old, new)

    return text


def secrets(work):
    """The example's keys, for nobody else to read: nginx warns otherwise."""
    path = os.path.join(work, "keys")
    shutil.copyfile(os.path.join(ROOT, "conf.examples", "keys.example"), path)
    os.chmod(path, 0o600)

    return path


def ask(port, client, team, plan, path="/v1/chat/completions"):
    """One request as a client library sends it."""
    body = json.dumps({"model": "gpt-example",
                       "messages": [{"role": "user", "content": "Hello?"}]})
    headers = {"Authorization": "Bearer " + client, "X-Team": team,
               "Content-Type": "application/json"}
    if plan:
        headers["X-Plan"] = plan

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    answer = {"status": response.status, "reason": response.reason,
              "headers": response.getheaders(), "body": response.read(),
              "id": response.getheader("X-Request-Id"), "client": client}
    connection.close()

    return answer


def title(text):
    print("\n== %s %s\n" % (text, "=" * max(0, 74 - len(text))), flush=True)


def show_answer(answer):
    print("HTTP/1.1 %d %s" % (answer["status"], answer["reason"]))
    for name, value in answer["headers"]:
        print("%s: %s" % (name, value))
    print("\n" + answer["body"].decode().rstrip() + "\n")


def show_records(records):
    line = "%-12s %-10.8s %-6s %-6s %-4s %-5s %-11s %6s  %s"
    print(line % ("outcome", "client", "team", "status", "key", "zone",
                  "upstream", "ms", "request id"))

    for record in records:
        tries = record.get("upstream", [])
        print(line % (record["outcome"], record.get("client", "-"),
                      record.get("fields", {}).get("team", "-"),
                      record.get("status", "-"), record.get("key", "-"),
                      record.get("zone", "-"),
                      ",".join("%s:%s" % (t.get("key", "-"),
                                      t.get("status", "-"))
                           for t in tries) or "-",
                      "%d" % (record["request_time_us"] // 1000),
                      record["request_id"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()

    # Ctrl-C ends the wait below, and the rest is ended in order
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    work = tempfile.mkdtemp(prefix="sluice-run.")
    os.chmod(work, 0o755)
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else work
    files = os.path.join(shm, os.path.basename(work) + ".files")

    try:
        return run(args, work, files)
    except Failed as failed:
        print("\nmake run: %s" % failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)


def run(args, work, files):
    module = os.path.join(args.build, "ngx_http_sluice_module.so")
    sluiced = os.path.join(args.build, "sluiced")
    sluicectl = os.path.join(args.build, "sluicectl")
    user = "www-data" if os.getuid() == 0 else None

    port, api_port = ports.free_port(), ports.free_port()
    api_listen = "127.0.0.1:%d" % api_port

    gateway_conf = example("gateway.conf", [
        ("127.0.0.1:8080", "127.0.0.1:%d" % port),
        ("127.0.0.1:8081", api_listen),
        ("worker_processes auto", "worker_processes 2"),
        ("/run/sluice", files),
        ("keys.example", secrets(work))])
    api_conf = example("example-api.conf", [("127.0.0.1:8081", api_listen)])

    title("starting")

    with Database(os.path.join(work, "database")) as database, \
         Nginx(os.path.join(work, "api"), api_conf, ready=api_port,
               user=user), \
         Nginx(os.path.join(work, "gateway"), gateway_conf,
               modules=[module], ready=port, user=user) as gateway:

        print("database   %s (%s)" % (database.uri, database.kind))
        print("API        http://%s/" % api_listen)
        print("gateway    http://127.0.0.1:%d/v1/  (%s)" % (port,
                                                            gateway.conf))

        env = {**os.environ, "SLUICE_MONGODB_URI": database.uri}
        log = os.path.join(work, "sluiced.log")
        command = [sluiced, "--dir", files, "--database", database.name]

        with Process(command, log, env=env) as process:
            print("sluiced    pid %d, log %s" % (process.pid, log), flush=True)

            status = show(port, database, files, sluicectl, process)

            if args.once:
                print(status["line"])
                return status["code"]

            title("try it yourself; Ctrl-C ends it")
            print("curl -i http://127.0.0.1:%d/v1/models "
                  "-H 'Authorization: Bearer carol'" % port)
            print("%s --dir %s status" % (sluicectl, files))
            print("%s --dir %s requests" % (sluicectl, files))
            print("%s --dir %s keys" % (sluicectl, files))
            print("less %s %s" % (gateway.error_log, log))
            print("\n" + status["line"], flush=True)

            try:
                while process.running:
                    time.sleep(0.5)
                raise Failed("sluiced ended\n" + process.tail())
            except KeyboardInterrupt:
                print("\nstopping")

    return status["code"]


def show(port, database, files, sluicectl, process):
    answers = []

    for client, team, plan, count in CLIENTS:
        for _ in range(count):
            answers.append(ask(port, client, team, plan))

    allowed = next((a for a in answers if a["status"] == 200), None)
    refused = next((a for a in answers if a["status"] == 429), None)

    for answer, what in (allowed, "a request that is let through"), \
                        (refused, "one that is over its client's limit"):
        if answer is None:
            raise Failed("no answer for \"%s\"" % what)
        title("%s (client \"%s\")" % (what, answer["client"]))
        show_answer(answer)

    wanted = {answer["id"] for answer in answers}
    collection = database.client()[database.name].usage

    def records():
        return list(collection.find({"request_id": {"$in": list(wanted)}})
                    .sort([("time_us", 1)]))

    wait_for(lambda: len(records()) >= len(wanted) or not process.running,
             15)
    found = records()

    title("the records, as they stand in the database")
    show_records(found)

    if found:
        print("\n" + json_util.dumps(found[0], json_options=JSON, indent=2))

    for what in "status", "keys":
        title("sluicectl " + what)
        subprocess.run([sluicectl, "--dir", files, what], check=False)

    # one by one: each answered id is there, and there once

    ids = [record["request_id"] for record in found]
    recorded = sum(1 for id in wanted if ids.count(id) == 1)
    line = "answered=%d recorded=%d refused=%d" % (
        len(answers), recorded,
        sum(1 for answer in answers if answer["status"] == 429))

    if len(found) != len(answers):
        print("\nsluiced says:\n" + process.tail())

    return {"line": line,
            "code": 0 if answers and recorded == len(answers) == len(found)
                    and len(wanted) == len(answers) else 1}


if __name__ == "__main__":
    sys.exit(main())
