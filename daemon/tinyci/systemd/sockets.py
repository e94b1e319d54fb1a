"""Sockets that systemd listens on for a service (systemd.socket(5))."""

import socket

from systemd import daemon


def inherited_sockets() -> list[socket.socket]:
    """Take over the sockets that systemd passed to this process (sd_listen_fds(3)); none when it passed none."""
    return [socket.socket(fileno=fd) for fd in daemon.listen_fds()]
