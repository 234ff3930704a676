"""TLS before a database that need not speak it: certificates, and a proxy.

`openssl` makes the certificates, as an operator would.
"""

import asyncio
import os
import ssl
import subprocess
import threading

from . import ports


class Authority:
    """A CA in a folder, and what it signs: each a .pem of certificate and
    key, which is how MongoDB's clients and Python's servers both take them.
    """

    def __init__(self, dir, name="ca"):
        self.dir = os.path.join(dir, name)
        self.file = os.path.join(self.dir, "ca.pem")
        self._key = os.path.join(self.dir, "ca.key")

        os.mkdir(self.dir, 0o700)
        self._openssl("req", "-x509", *_new_key(self._key), "-days", "2",
                      "-subj", "/CN=Sluice test " + name, "-out", self.file)

    def sign(self, name, names="", days=2, password=None):
        """The path of a new certificate with its key.

        `names` are its subjectAltName, as in "DNS:localhost"; days below 0:
        it has expired; `password` encrypts the key.
        """
        path = os.path.join(self.dir, name)
        request, key, extensions = path + ".csr", path + ".key", path + ".ext"

        self._openssl("req", *_new_key(key), "-subj", "/CN=" + name, "-out",
                      request)

        with open(extensions, "w") as file:
            file.write("basicConstraints = CA:FALSE\n")
            if names:
                file.write("subjectAltName = %s\n" % names)

        self._openssl("x509", "-req", "-in", request, "-CA", self.file,
                      "-CAkey", self._key, "-CAcreateserial", "-days", days,
                      "-extfile", extensions, "-out", path + ".crt")

        if password:
            self._openssl("pkcs8", "-topk8", "-v2", "aes256", "-in", key,
                          "-out", key + ".enc", "-passout",
                          "pass:" + password)
            key += ".enc"

        with open(path + ".pem", "w") as file:
            for part in path + ".crt", key:
                with open(part) as source:
                    file.write(source.read())

        return path + ".pem"

    def _openssl(self, *arguments):
        run = subprocess.run(["openssl", *map(str, arguments)],
                             stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=30)
        if run.returncode:
            raise RuntimeError("openssl %s: %s" % (arguments[0], run.stderr))


class Proxy:
    """Speaks TLS on `port`, and to the database behind it does not.

    With `ca`, the file of one, it takes clients with a certificate of that
    CA only.  It counts the clients that came, and those whose handshake went
    well, and tells the subjects that they had.
    """

    def __init__(self, target, certificate, ca=None):
        self.target = target
        self.port = ports.free_port()
        self.came = 0
        self.admitted = 0
        self.subjects = set()

        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

        if ca:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(ca)

        # no two threads may use a connection of OpenSSL's: one loop has all

        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._loop.run_forever,
                                        daemon=True)

    def __enter__(self):
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *exception):
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine,
                                                self._loop).result(10)

    async def _listen(self):
        # without ssl=: what does not get through a handshake counts as well
        self._server = await asyncio.start_server(self._serve, "127.0.0.1",
                                                  self.port)

    async def _close(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.came += 1

        try:
            await writer.start_tls(self._context)
            there, back = await asyncio.open_connection(*self.target)
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            writer.transport.abort()
            return

        self.admitted += 1
        subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
        self.subjects |= {value for part in subject for _, value in part}

        await asyncio.gather(self._pump(reader, back),
                             self._pump(there, writer))

    async def _pump(self, source, target):
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            target.close()


def _new_key(path):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", path]
