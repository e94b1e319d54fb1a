"""A service under systemd: its environment, its signals, its settings, its reports (sd_notify(3))."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from sdnotify import SystemdNotifier

from tinyci.model import settings, toml
from tinyci.model.settings import Settings
from tinyci.model.toml import ConfigError


def etc() -> Path:
    """Return the directory of the configuration, /etc/tinyci unless TINYCI_ETC names another one."""
    return Path(os.environ.get("TINYCI_ETC", "/etc/tinyci"))


def credential(name: str, unit: str) -> str:
    """Return the text of a credential of that unit (systemd.exec(5), "LoadCredential="). Raises OSError, or ConfigError
    for one that is no text."""
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY", f"/run/credentials/{unit}"))
    try:
        return (directory / name).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError(f"the credential '{name}' is not UTF-8: write it anew, and restart {unit}") from None


def load_settings(directory: Path) -> Settings:
    """Read `tinyci.toml` in that directory; without it, return the defaults. Raises ConfigError or OSError."""
    file = directory / "tinyci.toml"
    text = toml.read(str(file)) if file.exists() else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return settings.parse(str(file), text, os.cpu_count() or 1, memory)


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    on_signal(stop.set, signal.SIGTERM, signal.SIGINT)
    return stop


def on_signal(handler: Callable[[], None], *numbers: signal.Signals) -> None:
    """Call the handler in the loop for each of those signals."""
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, handler)


class Notifier:
    """Reports of this service to its manager."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()

    def notify(self, *lines: str) -> None:
        """Send assignments such as READY=1 or STATUS=…, as one message."""
        self._notifier.notify("\n".join(lines))
