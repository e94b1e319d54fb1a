"""What `/etc/tinyci/tinyci.toml` says."""

from typing import NamedTuple

from tinyci.model.repo import NOTICES, is_http
from tinyci.model.toml import TomlTable

FILE = "/etc/tinyci/tinyci.toml"
SPOOL = "/var/spool/tinyci"


class Settings(NamedTuple):
    """Every key has a default; an empty file is a whole configuration."""

    redis_socket: str
    """Path of the Unix socket of tinyci's Redis."""
    parallel: int
    """How many repos may deploy at once."""
    log_max: int
    """Bytes of a build's output kept in `tinyci:log:ID`; the journal keeps the rest."""
    output_max: int
    """Bytes of a build's last output kept in the job's field `output`."""
    keep_jobs: int
    """How many ended jobs of each repo are kept."""
    keep_age: float
    """Seconds that an ended job is kept at most."""
    web_url: str = ""
    """Where people reach the pages of tinyci-web, with a slash at the end; empty when nobody does."""
    notify_on: tuple[str, ...] = ("failure", "recovery")
    """What tinyci-notify tells of repos whose files do not say it: of NOTICES in repo.py."""


def parse(file: str, text: str, cpus: int) -> Settings:
    """The configuration in the text of a file of that name. Raises TableError."""
    table = TomlTable.load(file, text)
    redis, limits, keep, web, notify = (table.table(key) for key in ("redis", "limits", "keep", "web", "notify"))
    told: tuple[str, ...] = Settings._field_defaults["notify_on"]
    url = web.text("url", "an http:// or https:// URL", is_http, "")
    config = Settings(
        redis_socket=redis.text(
            "socket",
            "the absolute path of a Unix socket",
            lambda path: path.startswith("/"),
            "/run/redis-tinyci/redis.sock",
        ),
        parallel=table.number("parallel", 1, cpus),
        log_max=limits.number("log", 1024, 64 * 1024 * 1024),
        output_max=limits.number("output", 1024, 64 * 1024),
        keep_jobs=keep.number("jobs", 1, 100),
        keep_age=keep.span("age", "90d", least=60.0),
        web_url=url if not url or url.endswith("/") else f"{url}/",
        notify_on=notify.texts("on", f"a list of words out of {', '.join(NOTICES)}", NOTICES.__contains__, told),
    )
    for part in (table, redis, limits, keep, web, notify):
        part.end()
    return config
