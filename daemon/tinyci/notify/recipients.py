"""The recipients of messages: the lines of the credential `urls`. A URL is a secret and is never shown.

The format is a part of Apprise's text configuration, https://github.com/caronc/apprise/wiki/config_text: comments, and
URLs with their tags, which are names of repos here.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tinyci.model.repo import is_name

_LINE = re.compile(r"(?:(?P<repos>[^=:/?#]+)=)?\s*(?P<url>(?P<scheme>[A-Za-z][A-Za-z0-9]{0,19})://\S.*)", re.ASCII)


class UrlError(Exception):
    """A line is wrong; a clause that contains nothing of the URL."""


class Recipient(NamedTuple):
    """One line. Its repr() does not show the URL either."""

    name: str
    """Scheme, host if that is no secret, and line: `ntfy://push.example.org (line 3)`."""
    key: str
    """A hash that identifies the URL."""
    url: str
    repos: frozenset[str]
    """Repos that it is notified of; empty means all."""

    def __repr__(self) -> str:
        return f"<Recipient {self.name}>"

    def wants(self, repo: str) -> bool:
        return not self.repos or repo in self.repos


@dataclass
class Recipients:
    """All lines. A wrong line stops no other."""

    valid: list[Recipient] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """A sentence for each wrong line."""

    @classmethod
    def parse(cls, text: str, public_host: Callable[[str], str]) -> "Recipients":
        """Read the text of the credential.

        `public_host` returns the host of a URL, empty if the host is a secret, and raises UrlError if no message can be
        sent to the URL.
        """
        recipients = cls()
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            try:
                recipients._add(_recipient(number, line, public_host))
            except UrlError as error:
                recipients.errors.append(f"line {number}: {error}")
        return recipients

    def repos(self) -> list[str]:
        """Return the names that lines are restricted to."""
        return sorted({repo for recipient in self.valid for repo in recipient.repos})

    def _add(self, recipient: Recipient) -> None:
        for index, other in enumerate(self.valid):
            if other.key == recipient.key:  # the same URL twice, perhaps for other repos
                repos = other.repos | recipient.repos if other.repos and recipient.repos else frozenset()
                self.valid[index] = other._replace(repos=repos)
                return
        self.valid.append(recipient)


def _recipient(number: int, line: str, public_host: Callable[[str], str]) -> Recipient:
    match = _LINE.fullmatch(line)
    if not match:
        raise UrlError("expected a URL such as ntfy://HOST/TOPIC, or REPO=URL")
    repos = [name for name in re.split(r"[,\s]+", match["repos"] or "") if name]
    if not all(map(is_name, repos)):
        raise UrlError("expected the names of repos between commas before '='")
    scheme, url = match["scheme"].lower(), match["url"]
    try:
        host = public_host(url)
    except UrlError as error:
        raise UrlError(f"{scheme}:// {error}") from None
    # The prefix keeps the hash out of tables of hashes of common URLs.
    key = hashlib.sha256(f"tinyci-notify {url}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Recipient(f"{scheme}://{host} (line {number})", key, url, frozenset(repos))
