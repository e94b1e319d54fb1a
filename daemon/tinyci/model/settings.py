"""The settings of `/etc/tinyci/tinyci.toml`."""

from typing import NamedTuple

from tinyci.model import places
from tinyci.model.repofile import NOTICES, is_http
from tinyci.model.toml import TomlTable

FILE = "/etc/tinyci/tinyci.toml"
_MIB = 1024 * 1024


class Settings(NamedTuple):
    """All settings. Every key has a default; an empty file is a whole configuration."""

    redis_socket: str
    """Path of the Unix socket of tinyci's Redis."""
    parallel: int
    """Number of repos that may deploy at the same time."""
    log_max: int
    """Bytes of a build's output kept in `tinyci:log:ID`; the journal keeps the rest."""
    output_max: int
    """Bytes of a build's last output kept in the job's field `output`."""
    log_budget: int
    """Bytes of Redis' memory that the logs of all ended jobs may take; the oldest go first."""
    keep_jobs: int
    """Number of ended jobs of each repo that are kept."""
    keep_age: float
    """Seconds after which an ended job is not kept any more."""
    web_url: str = ""
    """URL of the pages of tinyci-web for people, with a slash at the end; empty without pages."""
    notify_on: tuple[str, ...] = ("failure", "recovery")
    """Reasons to notify for repos whose files name none: of NOTICES in repo.py."""


def parse(file: str, text: str, cpus: int, memory: int = 0) -> Settings:
    """Return the settings in a file of that name and text. `cpus`: the default of `parallel`. `memory`: bytes of the
    machine, for the default of `limits.log_budget`. Raises ConfigError."""
    table = TomlTable.load(file, text)
    redis, limits, keep, web, notify = (table.table(key) for key in ("redis", "limits", "keep", "web", "notify"))
    default_notices: tuple[str, ...] = Settings._field_defaults["notify_on"]
    url = web.text("url", "an http:// or https:// URL", is_http, "")
    settings = Settings(
        redis_socket=places.redis_socket(redis),
        parallel=table.number("parallel", 1, cpus),
        log_max=limits.number("log", 1024, 64 * 1024 * 1024),
        output_max=limits.number("output", 1024, 64 * 1024),
        log_budget=limits.number("log_budget", 1024 * 1024, min(max(memory // 16, 64 * _MIB), 1024 * _MIB)),
        keep_jobs=keep.number("jobs", 1, 100),
        keep_age=keep.span("age", "90d", least=60.0),
        web_url=url if not url or url.endswith("/") else f"{url}/",
        notify_on=notify.texts(
            "on", f"a list of words out of {', '.join(NOTICES)}", NOTICES.__contains__, default_notices
        ),
    )
    for part in (table, redis, limits, keep, web, notify):
        part.reject_unknown_keys()
    return settings
