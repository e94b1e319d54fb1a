"""Whom to tell: the lines of the credential, Apprise's text configuration. URLs are secrets: they are told to nobody.

Source: https://github.com/caronc/apprise/wiki/config_text; of it the URLs with their tags, which are repos here, and
the comments.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tinyci.model.repo import is_name

_LINE = re.compile(r"(?:(?P<repos>[^=:/?#]+)=)?\s*(?P<url>(?P<scheme>[A-Za-z][A-Za-z0-9]{0,19})://\S.*)", re.ASCII)


class UrlError(Exception):
    """What is wrong with a URL; nothing of the URL is in the text."""


class Service(NamedTuple):
    """One line of it. Its repr() is shown to nobody either."""

    name: str
    """Scheme, host where that is no secret, and line: `ntfy://push.example.org (line 3)`."""
    key: str
    """Tells its URL from others, and cannot be turned back into it."""
    url: str
    repos: frozenset[str]
    """Of which it is told; empty means of all."""

    def __repr__(self) -> str:
        return f"<Service {self.name}>"

    def wants(self, repo: str) -> bool:
        return not self.repos or repo in self.repos


@dataclass
class Services:
    known: list[Service] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """A sentence for each line that is none."""

    @classmethod
    def parse(cls, text: str, host_of: Callable[[str], str]) -> "Services":
        """`host_of`: the host of a URL, empty where that would be telling. Raises UrlError when no message can be sent
        to the URL."""
        services = cls()
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            try:
                services._add(_service(number, line, host_of))
            except UrlError as error:
                services.wrong.append(f"line {number}: {error}")
        return services

    def _add(self, service: Service) -> None:
        for number, other in enumerate(self.known):
            if other.key == service.key:  # the same twice, perhaps for other repos
                both = other.repos | service.repos if other.repos and service.repos else frozenset()
                self.known[number] = other._replace(repos=both)
                return
        self.known.append(service)

    def repos(self) -> list[str]:
        """Names that lines are restricted to."""
        return sorted({repo for service in self.known for repo in service.repos})


def _service(number: int, line: str, host_of: Callable[[str], str]) -> Service:
    found = _LINE.fullmatch(line)
    if not found:
        raise UrlError("expected a URL such as ntfy://HOST/TOPIC, or REPO=URL")
    repos = [name for name in re.split(r"[,\s]+", found["repos"] or "") if name]
    if not all(map(is_name, repos)):
        raise UrlError("expected the names of repos between commas before '='")
    scheme, url = found["scheme"].lower(), found["url"]
    try:
        host = host_of(url)
    except UrlError as error:
        raise UrlError(f"{scheme}:// {error}") from None
    # With a word of ours, so that it is no hash that is found in a list of those of common URLs.
    key = hashlib.sha256(f"tinyci-notify {url}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Service(f"{scheme}://{host} (line {number})", key, url, frozenset(repos))
