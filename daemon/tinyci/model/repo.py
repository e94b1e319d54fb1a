"""A repo: one file in `/etc/tinyci/repos.d/`, checked."""

from typing import Any, NamedTuple

from tinyci.model import repofile
from tinyci.model.repofile import NOTICES as NOTICES
from tinyci.model.repofile import RESTARTS as RESTARTS
from tinyci.model.repofile import is_http as is_http
from tinyci.model.repofile import is_name as is_name
from tinyci.model.repofile import is_unit as is_unit
from tinyci.model.repofile import is_unit_name as is_unit_name

DIRECTORY = "/etc/tinyci/repos.d"


class Repo(NamedTuple):
    """The source of a repo, its user, and the units that its deploy restarts. Times in seconds."""

    name: str
    repository: str
    """Absolute path of the bare repository."""
    user: str
    """`root` means the system manager, any other user that user's own manager."""
    refs: tuple[str, ...]
    """Patterns as in fnmatch, matched against the full name of a ref."""
    units: tuple[str, ...]
    """Restarted in this order. Empty: the build is the whole deploy."""
    script: str
    """Relative to the root of the checkout."""
    timeout: float
    """Limit of the build."""
    restart_timeout: float
    """Limit of each unit's restart; its own TimeoutStartSec= usually comes first."""
    settle: float
    """Time for which every unit must stay up after its restart."""
    verify_timeout: float
    """Limit for healthchecks and the health URL to be well, after `settle`."""
    health: str
    """URL that must answer after a restart, or empty."""
    health_headers: tuple[str, ...] = ()
    """Headers that the health URL is asked with, each as `Name: value`."""
    health_status: tuple[str, ...] = ("2xx",)
    """Statuses of its answer that are well: `204`, or `2xx` for all that begin with 2."""
    keep_images: int = 3
    """Number of successful deploys whose images are kept, the running one included."""
    restart: str = RESTARTS[0]
    """Of RESTARTS."""
    notify: tuple[str, ...] = ()
    """Of NOTICES. Empty: the ones that `/etc/tinyci/tinyci.toml` has for all repos."""

    @classmethod
    def placeholder(cls, name: str, user: str) -> "Repo":
        """A stand-in for a repo whose file was removed: its name and its user."""
        return cls(name, "", user, (), (), "", 0.0, 0.0, 0.0, 0.0, "")

    @property
    def is_root(self) -> bool:
        return self.user == "root"

    @property
    def only_ref(self) -> str:
        """The one ref that it deploys; empty when it deploys several, or a pattern's."""
        return repofile.only_ref(self.refs)

    @property
    def health_header_values(self) -> dict[str, str]:
        """The value of each of `health_headers` by its name."""
        pairs = (header.partition(":") for header in self.health_headers)
        return {name: value.strip() for name, _, value in pairs}

    def accepts_status(self, status: int) -> bool:
        """True if the health URL is well when it answers so."""
        return str(status) in self.health_status or f"{status // 100}xx" in self.health_status

    def deploys(self, ref: str) -> bool:
        return repofile.matches(self.refs, ref)


def parse(file: str, text: str) -> Repo:
    """Return the repo of a file, named as the file without `.toml`. Raises ConfigError."""
    name = repofile.name_of(file)
    values: dict[str, Any] = repofile.values(file, text)
    return Repo(name, **values)
