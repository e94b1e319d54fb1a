"""What tinyci-notify knows when it starts again: one file in its state directory."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FORMAT = 1


class UnreadableMemoryError(Exception):
    """The file cannot be used; one sentence."""


@dataclass
class Memory:
    position: str = ""
    """Id of the last event that was judged; empty before the first one."""
    troubled: list[str] = field(default_factory=list)
    """Repos whose last deploy failed."""
    waiting: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Digests that no service has yet, by the key of the service."""

    @classmethod
    def load(cls, file: Path) -> "Memory":
        """What save() wrote, or nothing when it never did. Raises Unreadable."""
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["format"] != _FORMAT:
                raise ValueError(f"format {kept['format']}")
            made = cls(str(kept["position"]), [str(repo) for repo in kept["troubled"]], dict(kept["waiting"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableMemoryError(f"{file} cannot be read ({type(error).__name__}: {error})") from None
        return made

    def save(self, file: Path) -> None:
        """All of it or nothing, and lasting when this returns. Raises OSError."""
        text = json.dumps(
            {"format": _FORMAT, "position": self.position, "troubled": self.troubled, "waiting": self.waiting}
        )
        new = file.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(new, file)


def number(position: str) -> tuple[int, int]:
    """The id of an entry, to be compared with others."""
    time, _, count = position.partition("-")
    return int(time or 0), int(count or 0)
