"""The file that survives a restart of tinyci-notify: `memory.json` in its state directory."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyci import catalog
from tinyci.log import fields
from tinyci.notify.digest import Digest
from tinyci.runtime.files import write_whole

_FORMAT = 1

log = logging.getLogger(__name__)


class UnreadableMemoryError(Exception):
    """The file cannot be used; one sentence."""


@dataclass
class Memory:
    """The contents. Their keys in the file do not change: an upgrade reads the file of the release before."""

    position: str = ""
    """Id of the last event that was handled; empty before the first one."""
    failing_repos: Sequence[str] = ()
    digests: Mapping[str, Sequence[Digest]] = field(default_factory=dict)
    """Digests that no service has taken yet, by the key of the recipient."""

    @classmethod
    def parse(cls, text: str) -> "Memory":
        """Raises ValueError, TypeError, KeyError or AttributeError for any other text than that of dump()."""
        values = json.loads(text)
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']}")
        digests = {key: [Digest.load(each) for each in rows] for key, rows in dict(values["waiting"]).items()}
        return cls(str(values["position"]), [str(repo) for repo in values["troubled"]], digests)

    def dump(self) -> str:
        return json.dumps(
            {
                "format": _FORMAT,
                "position": self.position,
                "troubled": list(self.failing_repos),
                "waiting": {key: [each.dump() for each in digests] for key, digests in self.digests.items()},
            }
        )


class MemoryFile:
    """The file. Its faults are logged and stop nothing: a restart for their sake would send messages twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.error = ""
        """Why the last save failed; empty if it did not."""

    def read(self) -> Memory:
        """Return the contents, empty without a file. Raises UnreadableMemoryError."""
        try:
            return Memory.parse(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableMemoryError(f"{self._path} cannot be read ({type(error).__name__}: {error})") from None

    def read_or_set_aside(self) -> Memory:
        """Return the contents; if they cannot be read, rename the file to `memory.bad` and begin without."""
        try:
            return self.read()
        except UnreadableMemoryError as error:
            bad = self._path.with_suffix(".bad")
            about = fields(message_id=catalog.WRONG_MEMORY)
            log.error("%s; it is put aside as %s, and what was to be told is lost", error, bad.name, extra=about)
            os.replace(self._path, bad)
            return Memory()

    def save(self, memory: Memory) -> bool:
        """Write the file, and return when it is on disk. Return False if that failed."""
        try:
            write_whole(self._path, memory.dump())
        except OSError as error:
            sentence = f"{error.filename or self._path}: {error.strerror}"
            if sentence != self.error:
                about = fields(message_id=catalog.UNSAVED_MEMORY)
                log.error("%s; a restart now would tell some messages again", sentence, extra=about)
            self.error = sentence
            return False
        self.error = ""
        return True
