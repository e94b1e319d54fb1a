"""Serves /www on the socket that systemd listens on (sd_listen_fds(3)), and on SIGTERM answers what it has begun."""

import functools
import http.server
import os
import signal
import socket
import sys
import threading

FIRST_FD = 3


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # the end of the server waits for them


def main() -> None:
    if os.environ.get("LISTEN_FDS") != "1":
        sys.exit("expected one socket of systemd's: is the .socket unit there, and does the service require it?")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/www")
    server = Server(("", 0), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=FIRST_FD)
    # From another thread: shutdown() waits for the loop that this handler interrupts.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    # Whoever connects from now on waits in the socket, which is systemd's, for the next container.
    server.server_close()


if __name__ == "__main__":
    main()
