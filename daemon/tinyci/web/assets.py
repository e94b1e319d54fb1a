"""The style sheet, the script and the icon: named by their content, so that a browser keeps them for ever."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tinyci.web import palette

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file that is served."""

    type: str
    content: bytes


class Assets:
    """All files of static/."""

    def __init__(self) -> None:
        self.by_name: dict[str, Asset] = {}
        """By the name in the URL."""
        self._names: dict[str, str] = {}
        """Names in the URL, by the name of the file."""
        for path in sorted((Path(__file__).parent / "static").iterdir()):
            if path.suffix not in _TYPES:
                continue
            content = path.read_bytes()
            if path.suffix == ".css":
                content += palette.css().encode()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            self.by_name[name] = Asset(_TYPES[path.suffix], content)
            self._names[path.name] = name

    def path(self, name: str) -> str:
        """The path of a file from the root of the pages."""
        return f"static/{self._names[name]}"
