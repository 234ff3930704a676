"""sluiced over TLS: with the right files all records arrive, once; a server
that is not known to be the right one is given none, and why is told; what it
was not given waits in the lanes.  No password of a key is told to anybody."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))

from sluicetest import tap                          # noqa: E402
from sluicetest.database import Database            # noqa: E402
from sluicetest.lanes import Lanes                  # noqa: E402
from sluicetest.process import wait_for             # noqa: E402
from sluicetest.tls import Authority, Proxy         # noqa: E402

RECORDS = 200
HERE = "IP:127.0.0.1,DNS:localhost"
PASSWORD = "k3yy w0rd@0fthe&th4t=cl1ent"
WRONG = "wr0ng w0rd@0fthe&th4t=cl1ent"


def forms(password):
    """How a password may be seen: any word of it is too much."""
    return [password, *re.split(r"\W", password)]


with tempfile.TemporaryDirectory(prefix="sluice-tls.") as dir, \
        Database(os.path.join(dir, "database")) as database, \
        Lanes(dir) as lanes:

    ca = Authority(dir, "ca")
    other = Authority(dir, "other")
    server = ca.sign("server", HERE)
    key = ca.sign("client", password=PASSWORD)
    keys = {"tlsCertificateKeyFile": key,
            "tlsCertificateKeyFilePassword": PASSWORD}

    parts = urllib.parse.urlsplit(database.uri)
    target = parts.hostname, parts.port or 27017
    usage = database.client()[database.name].usage
    options = ["--database", database.name, "--quarantine", dir,
               "--log-level", "debug", "--drain-timeout", "0"]
    filled = []

    def fill():
        filled.extend(name.partition(".")[2] for name in lanes.fill(RECORDS))

    def arrived():
        """The records of each lane: all that were filled, and none twice."""
        seen = {}
        for record in usage.find({}, {"_id": 1}):
            seen.setdefault(str(record["_id"]["lane"]), []).append(
                record["_id"]["seq"])
        return {lane: sorted(seen[lane]) for lane in seen}

    def complete(name):
        tap.is_((arrived(), lanes.names()),
                ({lane: list(range(1, RECORDS + 1)) for lane in filled}, []),
                "%s: every record is there, once" % name)

    def uri(port, host="127.0.0.1", **more):
        netloc = "".join(parts.netloc.rpartition("@")[:2])
        query = [parts.query, "directConnection=true",
                 "serverSelectionTimeoutMS=500"]
        query += ["%s=%s" % (option, urllib.parse.quote(value, safe="/"))
                  for option, value in more.items()]

        return parts._replace(netloc="%s%s:%d" % (netloc, host, port),
                              query="&".join(filter(None, query))).geturl()

    def env(*arguments, **more):
        return {"SLUICE_MONGODB_URI": uri(*arguments, **more)}

    def silent(said, name):
        tap.is_([form for password in (PASSWORD, WRONG)
                 for form in forms(password) if form in said], [],
                "%s: no password is told" % name)

    def right(proxy, name, **more):
        code, said = lanes.once(*options, env=env(
            proxy.port, tls="true", tlsCAFile=ca.file, **more))
        tap.is_(code, 0, "%s: it drains" % name) or tap.note(said)
        complete(name)
        return said

    def wrong(proxy, name, reasons, **more):
        """It tries and tells why not; nothing leaves, nothing is lost."""
        fill()
        waiting, before = lanes.names(), arrived()
        sluiced = lanes.sluiced(*options, env=env(proxy.port, **more))
        start = len(sluiced.output())

        # what it tells when it has a batch in its hands

        def told():
            return [line for line in sluiced.output()[start:].splitlines()
                    if "[warn]" in line and "MongoDB is away" in line]

        tap.ok(wait_for(told, 5) and all(reason in told()[0]
                                         for reason in reasons),
               "%s: it tells why" % name) \
            or tap.note(sluiced.output()[start:])
        tap.note("".join(told()[:1]))
        tap.ok(sluiced.running, "%s: it keeps trying" % name)
        sluiced.stop()
        tap.is_((lanes.names(), arrived() == before, proxy.admitted),
                (waiting, True, 0), "%s: nothing leaves the lanes" % name)
        silent(sluiced.output(), name)

    # as it should be: by address and by name

    with Proxy(target, server) as proxy:
        for host in "127.0.0.1", "localhost":
            fill()
            code, said = lanes.once(*options, env=env(
                proxy.port, host, tls="true", tlsCAFile=ca.file))
            tap.is_((code, proxy.admitted > 0), (0, True),
                    "TLS to %s" % host) or tap.note(said)
            complete(host)

    # not the right server, or not known to be: it is given nothing

    VERIFY = "certificate verify failed"

    for name, certificate, reasons, more in [
            ("a CA that did not sign", server,
             [VERIFY, "issuer"], {"tlsCAFile": other.file}),
            ("the system's CAs", server, [VERIFY, "issuer"], {}),
            ("another host's certificate", ca.sign("elsewhere",
                                                   "DNS:localhost"),
             [VERIFY, "mismatch"], {"tlsCAFile": ca.file}),
            ("an expired certificate", ca.sign("expired", HERE, days=-1),
             [VERIFY, "expired"], {"tlsCAFile": ca.file})]:
        with Proxy(target, certificate) as proxy:
            wrong(proxy, name, reasons, tls="true", **more)

    with Proxy(target, server) as proxy:
        wrong(proxy, "no TLS", ["no tls=true"])
        right(proxy, "restarted as it should be")

    # a file that is renewed

    renewed = os.path.join(dir, "renewed.pem")
    shutil.copy(other.file, renewed)
    fill()

    with Proxy(target, server) as proxy:
        sluiced = lanes.sluiced(*options, env=env(proxy.port, tls="true",
                                                  tlsCAFile=renewed))
        tap.ok(wait_for(lambda: proxy.came > 1, 5) and not proxy.admitted,
               "a CA file of the past: nobody is let in")
        shutil.copy(ca.file, renewed + ".new")
        os.rename(renewed + ".new", renewed)
        tap.ok(wait_for(lambda: not lanes.names(), 8),
               "renewed, it drains without a restart") \
            or tap.note(sluiced.tail(5))
        sluiced.stop()
        complete("a renewed CA file")

    # a client certificate, with an encrypted key

    with Proxy(target, server, ca.file) as proxy:
        for name, reason, more in [
                ("no client certificate", "client certificate?", {}),
                ("a stranger's client certificate", "client certificate?",
                 {"tlsCertificateKeyFile": other.sign("stranger")}),
                ("a key's wrong password", "KeyFilePassword",
                 {**keys, "tlsCertificateKeyFilePassword": WRONG}),
                ("a key's password not given", "KeyFilePassword",
                 {"tlsCertificateKeyFile": key})]:
            wrong(proxy, name, [reason], tls="true", tlsCAFile=ca.file,
                  **more)

        log = open(lanes.log).read()
        tap.ok("pass phrase" not in log, "nobody is asked for a password")
        tap.ok("[warn]" in "".join(line for line in log.splitlines()
                                   if "Cannot find private key" in line
                                   and key in line),
               "the file whose password is wrong is named")

        silent(right(proxy, "a client certificate", **keys),
               "a client certificate")
        tap.is_(proxy.subjects, {"client"}, "it is the one that was given")

        # ps, by the environment and, although nobody should, by an option

        for how in "environment", "option":
            full = uri(proxy.port, tls="true", tlsCAFile=ca.file, **keys)
            sluiced = lanes.sluiced(
                *options, *(["--sink", full] if how == "option" else []),
                env={"SLUICE_MONGODB_URI": full})
            fill()
            tap.ok(wait_for(lambda: usage.count_documents({})
                            == len(filled) * RECORDS, 5),
                   "%s: it drains" % how)
            shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p",
                                    str(sluiced.pid)], text=True,
                                   capture_output=True).stdout
            tap.ok("sluiced" in shown, "%s: ps shows it" % how)
            silent(shown, "%s: ps" % how)
            sluiced.stop()
            silent(sluiced.output(), how)

    # what is known to be wrong at start

    hollow = os.path.join(dir, "hollow.pem")
    open(hollow, "w").close()

    for option in "tlsCAFile", "tlsCertificateKeyFile":
        for path, reason in ((dir + "/absent.pem", "No such file"),
                             (dir, "directory"), (hollow, "empty")):
            code, said = lanes.once(*options, env=env(1, tls="true",
                                                      **{option: path}))
            tap.ok(code == 1 and option in said and path in said
                   and reason in said, "%s: %s: refused" % (option, reason)) \
                or tap.note(said)

    code, said = lanes.once(*options, env=env(
        1, tls="true", tlsCAFil="x", tlsCAFile=hollow))
    tap.ok('[warn]' in said and '"tlscafil"' in said,
           "an option that nobody knows is told") or tap.note(said)

    code, said = lanes.once(*options, env=env(
        1, tlsInsecure="true", tlsCAFile=hollow))
    tap.ok("certificate" in said and "not checked" in said,
           "a server that is not verified is told") or tap.note(said)

    # messages of libmongoc's that tell what an option holds, or part of it

    escaped = urllib.parse.quote(PASSWORD, safe="")
    option = "tlsCertificateKeyFilePassword="

    for name, query in [
            ("two names of the option", option + escaped
             + "&sslClientCertificateKeyPassword="
             + urllib.parse.quote(WRONG)),
            ("a password that is not escaped", option + PASSWORD),
            ("one with a bare end", option + "first&The-Client"),
            ("one that looks like options", option + "first&That=client"),
            ("one that is cut", option + "first%4&the-client")]:
        code, said = lanes.once(*options, env={
            "SLUICE_MONGODB_URI": "mongodb://127.0.0.1:1/?tlsCAFile=%s&%s"
            % (hollow, query)})
        found = [form for form in (*forms(PASSWORD), *forms(WRONG),
                                   "the-client", "The-Client", "that", "That")
                 if form in said]
        tap.is_((code, found), (1, []), "%s: refused, and not told" % name) \
            or tap.note(said)

    # names that are looked up at start

    for host in "sluice.invalid", "db.sluice.invalid":
        started = time.monotonic()
        code, said = lanes.once(*options, env={
            "SLUICE_MONGODB_URI": "mongodb+srv://u:%s@%s/?tls=true"
            % (escaped, host), "RES_OPTIONS": "timeout:1 attempts:1"})
        tap.ok(code == 1 and "the URI of the sink" in said
               and ("SRV" in said or "service name" in said),
               "mongodb+srv://%s: refused" % host) or tap.note(said)
        tap.ok(time.monotonic() - started < 8, "in a bounded time")
        silent(said, host)

    complete("after all of it")

tap.done()
