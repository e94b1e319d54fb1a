"""tinyci: a push rebuilds a podman container and restarts its systemd unit."""

__version__ = "0.1.0"
