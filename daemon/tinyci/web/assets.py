"""The style sheet, the script and the icon: named by their content, so that a browser keeps them for ever."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tinyci.web import palette

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """One file."""

    type: str
    content: bytes


class Assets:
    """All of them."""

    def __init__(self) -> None:
        self.served: dict[str, Asset] = {}
        """By the name in the URL."""
        self._names: dict[str, str] = {}
        for path in sorted((Path(__file__).parent / "static").iterdir()):
            if path.suffix not in _TYPES:
                continue
            content = path.read_bytes()
            if path.suffix == ".css":
                content += palette.css().encode()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            self.served[name] = Asset(_TYPES[path.suffix], content)
            self._names[path.name] = name

    def path(self, name: str) -> str:
        """Of a file, from the root of the pages."""
        return f"static/{self._names[name]}"
