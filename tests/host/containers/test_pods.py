"""Deploys of a pod: its unit is made of a file of Kubernetes (podman-kube-play(1))."""

from collections.abc import Iterator
from contextlib import contextmanager

from app import App

POD = """apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {{io.podman.annotations.init.container.type: always}}
spec:
  restartPolicy: Never
  hostNetwork: true
  initContainers:
    - {{name: first, image: "localhost/{name}:latest", command: [/bin/busybox, sh, -c, "exit 0"]}}
    - {{name: second, image: "localhost/{name}:latest", command: [/bin/busybox, sh, -c, "exit 0"]}}
  containers:
    - {{name: web, image: "localhost/{name}:latest"}}
{more}"""
SHORT = '    - {{name: short, image: "localhost/{name}:latest", command: [/bin/busybox, sh, -c, "sleep 1; exit 0"]}}\n'
KUBE = """[Kube]
Yaml={yaml}
[Service]
Restart=no
"""


@contextmanager
def pod(app: App, more: str = "") -> Iterator[None]:
    """Make the app's unit of a pod while the block runs. `more`: containers of it."""
    yaml, kube = f"/etc/{app.name}.yaml", app.quadlet.replace(".container", ".kube")
    stop, reload = app.systemctl(f"stop {app.unit}"), app.systemctl("daemon-reload")
    app.server.sh(f"cat >{yaml}", stdin=POD.format(name=app.name, more=more.format(name=app.name)))
    app.server.sh(f"{stop}; mv {app.quadlet} /run/kept; cat >{kube}; {reload}", stdin=KUBE.format(yaml=yaml))
    try:
        yield
    finally:
        app.server.sh(
            f"{stop}; mv /run/kept {app.quadlet}; rm {yaml} {kube}; {reload}; {app.systemctl(f'restart {app.unit}')}"
        )


def test_an_init_container_that_has_done_its_work_is_well(rootless: App) -> None:
    with pod(rootless):
        job = rootless.deploy("of a pod\n")
        assert job["state"] == "succeeded", job
        assert rootless.answer() == "of a pod\n"
        states = rootless.podman("ps --all --filter pod=" + rootless.name + " --format '{{.Names}} {{.Status}}'")
        assert states.count("Exited (0)") == 2, states


def test_another_container_that_has_ended_is_none_that_runs(rootless: App) -> None:
    with pod(rootless, SHORT):
        job = rootless.deploy("of a pod with too little in it\n")
        assert job["state"] in ("failed", "rolled-back"), job
        assert "-short of hello-quadlet.service does not run" in job["reason"], job
