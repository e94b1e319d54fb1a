"""Places on the host that the daemon and the hook share."""

from tinyci.model.toml import TomlTable

SPOOL = "/var/spool/tinyci"


def redis_socket(table: TomlTable) -> str:
    """Return the path of the Unix socket of tinyci's Redis, given the table of settings `redis`. Raises ConfigError."""
    return table.text(
        "socket",
        "the absolute path of a Unix socket",
        lambda path: path.startswith("/"),
        "/run/redis-tinyci/redis.sock",
    )
