"""The command lines of units tell which containers they start, and from which images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.stage.commandline import Command, commands, image_names, kube_images, kube_names

# What Quadlet of podman 5.4 generates.
QUADLET = (
    "/usr/bin/podman run --name web --replace --rm --cgroups=split --network host --sdnotify=conmon -d "
    "-v /var/lib/web/site:/www:ro --env A=1 localhost/web:latest /bin/serve --port 1"
)
# What podman generate systemd --new writes.
GENERATED = (
    "/usr/bin/podman run --cidfile=/run/user/1/web.ctr-id --cgroups=no-conmon --rm --sdnotify=conmon -d --replace "
    "--name web -p 8080:80 --health-cmd true web"
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (QUADLET, Command("podman", "run", "web", "localhost/web:latest")),
        (GENERATED, Command("podman", "run", "web", "web")),
        ("/usr/bin/podman start web", Command("podman", "start", "web")),
        ("podman --log-level=debug --remote container start -a web", Command("podman", "start", "web")),
        ("podman create -itp80:80 --name=web web:1", Command("podman", "create", "web", "web:1")),
        ("podman run -dp 80:80 -e A=1 web", Command("podman", "run", "", "web")),
        ("podman run -- web --name x", Command("podman", "run", "", "web")),
        ("/usr/bin/env podman run --rm web", Command("podman", "run", "", "web")),
        (
            "podman kube play --replace --service-container=true /etc/web.yaml",
            Command("podman", "kube", file="/etc/web.yaml"),
        ),
        ("podman play kube web.yaml", Command("podman", "kube", file="web.yaml")),
        ("podman pod start web-pod", Command("podman", "pod", "web-pod")),
        ("docker run --name web web", Command("docker", "run", "web", "web")),
        ("/usr/bin/podman-compose -p shop up -d", Command("compose", "up", project="shop")),
        ("podman compose --project-name shop up", Command("compose", "up", project="shop")),
        ("podman", Command("podman", "")),
    ],
)
def test_a_command_line_names_a_container_and_an_image(line: str, command: Command) -> None:
    assert commands(line.split()) == [command]


def test_a_shell_is_looked_into() -> None:
    line = ["/bin/sh", "-c", "podman pull web; exec podman run --name 'web' --label 'a b' web:1 && true"]
    assert commands(line) == [Command("podman", "pull"), Command("podman", "run", "web", "web:1")]


def test_an_argument_with_a_blank_is_one() -> None:
    line = ["podman", "run", "--health-cmd", "curl -f http://127.0.0.1", "--name", "web", "web:1"]
    assert commands(line) == [Command("podman", "run", "web", "web:1")]


@pytest.mark.parametrize(
    "line", [["/usr/bin/python3", "-m", "http.server"], ["sh", "-c", "exec web 'open"], ["sh", "-c"], []]
)
def test_what_starts_no_podman_tells_nothing(line: list[str]) -> None:
    assert commands(line) == []


@given(
    st.lists(
        st.sampled_from(["podman", "run", "--name", "-d", "sh", "-c", "'", "x", "--", "-", "kube", "play", "pod", ";"])
    )
)
def test_any_command_line_is_read(words: list[str]) -> None:
    for command in commands(words):
        assert command.engine in ("podman", "docker", "compose")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web", ("localhost/web:latest", "docker.io/library/web:latest")),
        ("web:1", ("localhost/web:1", "docker.io/library/web:1")),
        ("me/web", ("localhost/me/web:latest", "docker.io/me/web:latest")),
        ("localhost/web", ("localhost/web:latest",)),
        ("registry.example.org:5000/web", ("registry.example.org:5000/web:latest",)),
        ("docker://docker.io/library/web:2", ("docker.io/library/web:2",)),
        ("localhost/web@sha256:00", ("localhost/web@sha256:00",)),
    ],
)
def test_a_short_name_of_an_image_stands_for_full_ones(text: str, names: tuple[str, ...]) -> None:
    assert image_names(text) == names


def test_a_file_of_kubernetes_names_pods_and_images() -> None:
    text = "metadata:\n  name: shop\nspec:\n  containers:\n"
    text += "    - name: web\n      image: 'localhost/web:latest'\n    - {name: db, image: db}\n"
    assert kube_images(text) == ["localhost/web:latest", "db"]
    assert kube_names(text) >= {"shop", "web"}
