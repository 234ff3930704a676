"""Free TCP ports on loopback."""

import socket

_held = []


def free_port():
    """Returns a port for a server to listen on, never the same one twice.

    It stays bound, without listening, until the program ends: nobody else is
    given it, not even while its server is down.  A server can listen on it
    all the same, as both set SO_REUSEADDR.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)

    return holder.getsockname()[1]


def accepts(port):
    """Tells whether a server listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False

    return True
