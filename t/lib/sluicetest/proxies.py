"""Forward proxies as Debian has them, each on a free port of loopback.

Their configuration and logs are in a folder of the test's.  Where they can,
they ask for a name and a password, which has characters that a URL must
escape if that can be.
"""

import os
import subprocess
import urllib.parse

from . import ports
from .process import Process

USER = "joe"


class Proxy(Process):
    """One proxy: `scheme` and `port`; with `auth` it asks who comes.

    What a subclass has to say: arguments(), of which the files are written in
    `dir` before it is called.
    """

    scheme = "http"
    password = "p@ss:w/rd%"
    knows_users = True

    def __init__(self, dir, auth=False):
        if auth and not self.knows_users:
            raise ValueError("%s is not set up for users" % self.program)

        self.auth = auth
        self.port = ports.free_port()
        self.dir = os.path.join(dir, "%s-%d" % (self.program, self.port))

        # they may give up root for a user who is not ours
        os.makedirs(self.dir, mode=0o755)
        os.chmod(self.dir, 0o777)

        super().__init__(self.arguments(), os.path.join(self.dir, "log"),
                         name=self.program)

    @property
    def url(self):
        """As sluice_proxy_pool takes it."""
        user = "%s:%s@" % (USER, urllib.parse.quote(self.password, safe="")) \
            if self.auth else ""

        return "%s://%s127.0.0.1:%d" % (self.scheme, user, self.port)

    def start(self):
        super().start()

        return self.wait_ready(lambda: ports.accepts(self.port))

    def write(self, name, text):
        """The path of a file with this text, which its user can read."""
        path = os.path.join(self.dir, name)

        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)

        return path


class Tinyproxy(Proxy):
    program = "tinyproxy"
    password = "pass-w.rd"      # it takes no others

    def arguments(self):
        return ["tinyproxy", "-d", "-c", self.write("conf", """
            Port %d
            Listen 127.0.0.1
            Timeout 600
            MaxClients 2000
            LogLevel Connect
            %s
        """ % (self.port, 'BasicAuth %s %s' % (USER, self.password)
               if self.auth else ""))]


class Squid(Proxy):
    program = "squid"

    def arguments(self):
        access = "http_access allow all"

        if self.auth:
            access = """
                auth_param basic program /usr/lib/squid/basic_ncsa_auth %s
                acl known proxy_auth REQUIRED
                http_access allow known
                http_access deny all
            """ % self.write("users", "%s:%s\n" % (USER, _crypt(self.password)))

        # pinger and unlinkd would be processes of their own, to no use
        conf = """
            http_port 127.0.0.1:%(port)d
            %(access)s
            visible_hostname proxy.test
            pid_filename none
            access_log stdio:%(dir)s/access.log
            cache_log %(dir)s/cache.log
            coredump_dir %(dir)s
            netdb_filename none
            cache deny all
            cache_mem 1 MB
            max_filedescriptors 8192
            pinger_enable off
            shutdown_lifetime 0 seconds
            client_lifetime 1 hour
        """ % {"port": self.port, "dir": self.dir, "access": access}

        return ["squid", "-N", "-f", self.write(
            "conf", "\n".join(line.strip() for line in conf.splitlines()))]


class Microsocks(Proxy):
    program = "microsocks"
    scheme = "socks5"

    def arguments(self):
        return ["microsocks", "-i", "127.0.0.1", "-p", self.port,
                *(["-u", USER, "-P", self.password] if self.auth else [])]


class Dante(Proxy):
    program = "danted"
    scheme = "socks5"
    knows_users = False         # they would have to be the machine's

    def arguments(self):
        conf = self.write("conf", """
            logoutput: stderr
            internal: 127.0.0.1 port = %d
            external: 127.0.0.1
            clientmethod: none
            socksmethod: none
            client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
            socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
        """ % self.port)

        return ["danted", "-f", conf, "-p", os.path.join(self.dir, "pid")]


ALL = Tinyproxy, Squid, Microsocks, Dante


def _crypt(password):
    return subprocess.run(["openssl", "passwd", "-apr1", "-stdin"],
                          input=password, capture_output=True, text=True,
                          check=True, timeout=30).stdout.strip()
