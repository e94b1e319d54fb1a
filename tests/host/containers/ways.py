"""The ways to run a container: another unit in the place of an app's Quadlet."""

from collections.abc import Iterator
from contextlib import contextmanager

from app import App


def home(app: App) -> str:
    return app.server.sh(f"getent passwd {app.user} | cut -d : -f 6").strip()


def unit_directory(app: App) -> str:
    return "/etc/systemd/system" if app.user == "root" else f"{home(app)}/.config/systemd/user"


def quadlet_directory(app: App) -> str:
    return "/etc/containers/systemd" if app.user == "root" else f"{home(app)}/.config/containers/systemd"


@contextmanager
def without_quadlet(app: App) -> Iterator[None]:
    """Take the app's Quadlet away while the block runs, with its container and all files of units that its user
    makes."""
    places = f"{unit_directory(app)}/{app.name}* {quadlet_directory(app)}/{app.name}*"
    reload, reset = app.systemctl("daemon-reload"), app.systemctl(f"reset-failed {app.unit}")
    app.server.sh(f"{app.systemctl(f'stop {app.unit}')}; mv {app.quadlet} /run/kept.container; {reload}")
    app.server.as_manager(app.user, f"mkdir -p {unit_directory(app)} {quadlet_directory(app)}")
    try:
        yield
    finally:
        app.server.sh(
            f"{app.systemctl(f'stop {app.unit}')}; rm -f {places}; mv /run/kept.container {app.quadlet}\n"
            f"{reload}; {reset}; true"
        )
        app.podman(f"rm --force --ignore --time 0 {app.name}")
        app.server.sh(f"{app.systemctl(f'restart {app.unit}')} || true")


@contextmanager
def unit_of(app: App, service: str, unit: str = "") -> Iterator[None]:
    """Have a unit that a person wrote in the place of the Quadlet while the block runs."""
    text = f"[Unit]\n{unit}\n[Service]\n{service}\n"
    with without_quadlet(app):
        app.server.as_manager(app.user, f"cat >{unit_directory(app)}/{app.unit} <<'END'\n{text}END\n")
        app.server.sh(app.systemctl("daemon-reload"))
        yield


@contextmanager
def quadlets_of(app: App, **files: str) -> Iterator[None]:
    """Have Quadlets of the user's own in the place of that of the administrator. `files`: texts by their types."""
    with without_quadlet(app):
        for kind, text in files.items():
            path = f"{quadlet_directory(app)}/{app.name}.{kind}"
            app.server.as_manager(app.user, f"cat >{path} <<'END'\n{text}\nEND\n")
        app.server.sh(app.systemctl("daemon-reload"))
        yield


def quadlet(app: App, image: str = "", more: str = "") -> str:
    """Return the text of a Quadlet of the app."""
    publish = "Network=host" if app.port == app.inner_port else f"PublishPort=127.0.0.1:{app.port}:{app.inner_port}"
    image = image or f"localhost/{app.name}:latest"
    return f"[Container]\nContainerName={app.name}\nImage={image}\nPull=never\n{publish}\n{more}\n"


def run_options(app: App) -> str:
    """Return the options of `podman run` that the app needs."""
    publish = "--network host" if app.port == app.inner_port else f"--publish 127.0.0.1:{app.port}:{app.inner_port}"
    return f"--replace --name {app.name} {publish}"
