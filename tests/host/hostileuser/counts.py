"""The numbers of things that an attack has done, in a file for whoever reports them."""

import json
import os
import threading
import time
from pathlib import Path


class Counts:
    """Numbers by name, written every second."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._next_write = 0.0

    def add(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._numbers[name] = self._numbers.get(name, 0) + number
            if time.monotonic() >= self._next_write:
                self._next_write = time.monotonic() + 1
                new = Path(f"{self._path}.new")
                new.write_text(json.dumps(self._numbers))
                os.replace(new, self._path)
