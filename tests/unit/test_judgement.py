"""`succeeded` implies that each container of each unit runs what its name means now; no deploy that does so fails."""

from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.stage.commandline import commands
from tinyci.stage.judgement import Situation, doubts, next_images, refuse_missing, refuse_stale, verify, verify_known
from tinyci.stage.ownership import UnitContainer, containers_of
from tinyci.stage.podman import Container
from tinyci.stage.status import StageError
from tinyci.stage.units import Unit

WEB, DB = "localhost/web:latest", "localhost/db:latest"
GROUP = "/user.slice/user@1000.service/app.slice"


def unit(name: str, line: str, **values: object) -> Unit:
    words = tuple(line.split())
    fields = {"active_state": "active", "type": "notify", "control_group": f"{GROUP}/{name}"} | values
    return Unit(name, frozenset({name}), exec_start=(words,), commands=tuple(commands(words)), **fields)  # type: ignore[arg-type]


def container(name: str, image: str, image_name: str = WEB, **values: object) -> Container:
    fields = {"label": "", "state": "running", "id": f"id of {name}"} | values
    return Container(name=name, image=image, image_name=image_name, **fields)  # type: ignore[arg-type]


ENDED = container("web", "1", state="exited")
RUN = unit("web.service", f"podman run --name web {WEB}")
UNNAMED = unit("web.service", f"podman run {WEB}")
MIGRATION = unit("up.service", "podman run --name up web", type="oneshot", active_state="inactive")
WRAPPER = unit("web.service", "/home/web/start.sh")


# -- whose container it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "found"),
    [
        (WRAPPER, container("x", "1", label="web.service")),
        (replace(WRAPPER, names=frozenset({"web.service", "site.service"})), container("x", "1", label="site.service")),
        (replace(WRAPPER, main_pid=7), container("x", "1", monitor=7)),
        (WRAPPER, container("x", "1", monitor=7, control_group=f"{GROUP}/web.service")),
        (WRAPPER, container("x", "1", monitor=7, control_group=f"{GROUP}/web.service/runtime")),
        (RUN, container("web", "1")),
        (RUN, container("web", "1", state="exited")),
        (unit("web.service", "podman start web"), container("web", "1")),
        (
            unit("web.service", "podman-compose up", working_directory="/home/web/My Shop"),
            container("x", "1", project="myshop"),
        ),
        (unit("web.service", "podman-compose -p shop up"), container("x", "1", project="shop")),
    ],
)
def test_a_container_is_known_by_systemd_or_podman(owner: Unit, found: Container) -> None:
    assert containers_of([owner], [found]) == [UnitContainer(found, owner)]


@pytest.mark.parametrize(
    "stranger",
    [
        container("x", "1"),
        container("x", "1", label="other.service"),
        container("x", "1", monitor=7, control_group=f"{GROUP}/web.service.d"),
        container("x", "1", monitor=7, control_group=f"{GROUP}/other.service"),
        container("x", "1", project="other"),
    ],
)
def test_a_container_of_another_unit_is_none_of_it(stranger: Container) -> None:
    assert containers_of([RUN, unit("shop.service", "podman-compose -p shop up")], [stranger]) == []


def test_what_a_unit_does_not_start_any_more_and_has_ended_is_none_of_it() -> None:
    seed = container("seed", "0", label="web.service", state="exited", exit_code=1)
    assert containers_of([RUN], [seed]) == []
    assert containers_of([WRAPPER], [seed]) == [UnitContainer(seed, WRAPPER)], "nobody can know what it starts"
    seeded = replace(RUN, other_commands=tuple(commands(["podman", "run", "--name", "seed", "web"])))
    assert containers_of([seeded], [seed]) == [UnitContainer(seed, seeded)]


def test_a_container_in_a_slice_is_that_of_its_unit() -> None:
    group = f"{GROUP}/web.slice"
    web = replace(WRAPPER, control_group=f"{group}/web.service", is_member=True)
    whole = Unit("web.slice", frozenset({"web.slice"}), control_group=group, links={"RequiredBy": ("web.service",)})
    found = container("x", "1", monitor=7, control_group=f"{group}/web.service")
    assert containers_of([whole, web], [found]) == [UnitContainer(found, web)]


def test_the_containers_of_a_pod_are_those_of_its_unit() -> None:
    pod = unit("web-pod.service", "podman pod start web-pod")
    infra = container("infra", "0", label="web-pod.service", pod="p", is_infra=True)
    own, inner = container("own", "1", pod="p", label="own.service"), container("inner", "1", pod="p")
    assert [each.container.name for each in containers_of([pod], [infra, own, inner])] == ["own", "inner"]
    dead = inner._replace(state="exited")
    assert [each.is_well for each in containers_of([pod], [infra, dead])] == [False]


# -- what it runs next ---------------------------------------------------------------------------------------------


def test_a_rename_in_unit_and_script_together_is_what_runs_next() -> None:
    renamed = unit("web.service", "podman run --name web site")
    old = containers_of([renamed], [container("web", "1")])
    nexts = next_images([renamed], {"localhost/site:latest": "2"}, old, {WEB: "1"})
    assert nexts.names == ("localhost/site:latest",)


def test_an_image_that_there_is_not_is_missing_and_one_of_a_registry_may_be_pulled() -> None:
    units = [RUN, unit("db.service", "podman run docker.io/library/postgres:16")]
    nexts = next_images(units, {}, [], {})
    assert (nexts.names, list(nexts.missing)) == ((), [WEB])


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            {},
            {"localhost/wbe:latest": "2"},
            rf"made localhost/wbe:latest, and no new {WEB}, which web.service runs: build",
        ),
        ({}, {}, rf"there is no image {WEB}, which web.service runs, and the build made none"),
        ({WEB: "1"}, {}, rf"the build removed {WEB}, which web.service runs: podman image prune --all"),
    ],
)
def test_a_missing_image_is_told_by_what_became_of_it(
    before: dict[str, str], after: dict[str, str], reason: str
) -> None:
    with pytest.raises(StageError, match=reason):
        refuse_missing(next_images([RUN], after, [], {}), before, after, lambda name: False)


def test_a_program_in_no_container_may_always_be_new() -> None:
    assert next_images([WRAPPER], {}, [], {}).has_unknown
    assert not next_images([RUN, replace(WRAPPER, name="web.socket")], {WEB: "1"}, [], {}).has_unknown
    builder = replace(RUN, links={"Requires": ("web-build.service",)})
    assert next_images([builder], {WEB: "1"}, [], {}).has_unknown


# -- before a restart ----------------------------------------------------------------------------------------------


def situation(units: list[Unit], containers: list[Container], names: dict[str, str]) -> Situation:
    mine = containers_of(units, containers)
    nexts = next_images(units, names, mine, {})
    return Situation(units, {name: names[name] for name in nexts.names}, mine)


def test_a_unit_that_starts_an_old_container_again_is_refused() -> None:
    start = unit("web.service", "podman start web", files=("/home/web/.config/systemd/user/web.service",))
    with pytest.raises(StageError, match=r"--name web >/home/web/.config/systemd/user/web.service, then daemon-reload"):
        refuse_stale(situation([start], [container("web", "1")], {WEB: "2"}), {WEB: "2"})
    refuse_stale(situation([start], [container("web", "2")], {WEB: "2"}), {WEB: "2"})


def test_a_unit_whose_containers_cannot_be_known_is_refused() -> None:
    with pytest.raises(
        StageError, match=r"cannot be known which containers web.service runs: write Environment=PODMAN"
    ):
        refuse_stale(situation([UNNAMED], [], {WEB: "2"}), {WEB: "2"})
    refuse_stale(situation([replace(UNNAMED, active_state="inactive")], [], {WEB: "2"}), {WEB: "2"})
    with pytest.raises(StageError, match=r"web.service starts docker, of which"):
        refuse_stale(situation([unit("web.service", "docker run web")], [], {}), {})


def test_a_doubtful_unit_is_told_before_any_build() -> None:
    start, docker = unit("web.service", "podman start web"), unit("d.service", "docker run web")
    assert (
        len(
            doubts([start, docker, replace(UNNAMED, name="x.service")], containers_of([start], [container("web", "1")]))
        )
        == 3
    )
    assert doubts([RUN], containers_of([RUN], [container("web", "1")])) == []
    assert doubts([replace(RUN, active_state="inactive")], []) == []


def test_a_member_that_is_not_up_is_told() -> None:
    member = replace(RUN, is_member=True, active_state="failed")
    with pytest.raises(
        StageError, match=r"web\.service, which is a part of what was restarted, is not up: it is failed"
    ):
        verify_known([member], [], [], {})


def test_a_target_that_does_not_restart_what_it_wants_is_refused() -> None:
    target = Unit("shop.target", frozenset({"shop.target"}), active_state="active", links={"Wants": ("web.service",)})
    member = replace(RUN, is_member=True)
    with pytest.raises(StageError, match=r"write PartOf=shop.target in its"):
        refuse_stale(situation([target, member], [container("web", "1")], {WEB: "2"}), {})
    part = replace(target, links={"Wants": ("web.service",), "ConsistsOf": ("web.service",)})
    refuse_stale(situation([part, member], [container("web", "1")], {WEB: "2"}), {})
    refuse_stale(situation([target, RUN], [container("web", "1")], {WEB: "2"}), {})


@pytest.mark.parametrize(
    ("units", "containers", "is_running_all"),
    [
        ([RUN], [container("web", "1")], True),
        ([RUN], [container("web", "0")], False),
        ([RUN], [container("web", "1", state="exited")], False),
        ([RUN], [], False),
        ([WRAPPER], [container("web", "1", label="web.service")], True),
        ([replace(RUN, active_state="failed")], [container("web", "1")], False),
        ([RUN, MIGRATION], [container("web", "1")], True),
    ],
)
def test_a_restart_changes_nothing_where_all_runs(
    units: list[Unit], containers: list[Container], *, is_running_all: bool
) -> None:
    assert situation(units, containers, {WEB: "1"}).is_running_all is is_running_all


# -- what runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "names", "goals", "reason"),
    [
        (ENDED._replace(exit_code=1), {WEB: "1"}, {}, "container web of web.service does not run"),
        (ENDED, {WEB: "1"}, {}, "container web of web.service does not run"),
        (container("web", "1"), {WEB: "2"}, {WEB: "2"}, f"runs image 1, while {WEB} is 2: its unit starts an old"),
        (
            container("web", "1"),
            {WEB: "1"},
            {WEB: "2"},
            f"{WEB} is image 1 now, and was 2 when it was built: somebody gave",
        ),
        (container("web", "1"), {}, {}, f"runs image 1, and no image is called {WEB} any more"),
    ],
)
def test_what_does_not_run_as_it_should_is_told(
    found: Container, names: dict[str, str], goals: dict[str, str], reason: str
) -> None:
    with pytest.raises(StageError, match=reason):
        verify(containers_of([RUN], [found]), names, goals)


def test_a_oneshot_and_what_runs_before_a_service_may_end_well() -> None:
    seeded = replace(RUN, other_commands=tuple(commands(["podman", "run", "--name", "seed", "web"])))
    ended = [container("up", "1", state="exited"), container("seed", "1", state="exited"), container("web", "1")]
    verify(containers_of([MIGRATION, seeded], ended), {WEB: "1"}, {WEB: "1"})


def test_an_image_by_its_id_is_what_it_says() -> None:
    verify(containers_of([RUN], [container("web", "12ab", "12ab")]), {}, {})


def test_a_container_of_nobody_that_runs_the_image_before_is_doubted() -> None:
    old = container("x", "1")
    with pytest.raises(
        StageError, match=r"container x runs the image that localhost/web:latest was before, and it cannot"
    ):
        verify_known([WRAPPER], [], [old], {WEB: ("1", "2")})
    verify_known([WRAPPER], [], [old._replace(image="2")], {WEB: ("1", "2")})
    verify_known([RUN], containers_of([RUN], [container("web", "2")]), [old], {WEB: ("1", "2")})


# -- the promise ---------------------------------------------------------------------------------------------------

NAMES = ("localhost/a:latest", "localhost/b:latest", "docker.io/library/c:1")
IDS = ("1", "2", "3")
WAYS = ("quadlet", "named", "watched", "started", "oneshot", "pod", "unnamed")


@dataclass(frozen=True)
class World:
    """Random units, containers, names and images."""

    units: list[Unit]
    containers: list[Container]
    names: dict[str, str]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(IDS)))
    units, containers = [], []
    for number in range(draw(st.integers(1, 4))):
        way, name = draw(st.sampled_from(WAYS)), f"u{number}.service"
        image_name, image = draw(st.sampled_from(NAMES)), draw(st.sampled_from(IDS))
        state = draw(st.sampled_from(("running", "running", "running", "exited")))
        line = {"started": f"podman start c{number}", "watched": "/bin/wrapper", "pod": f"podman pod start p{number}"}
        named = "" if way == "unnamed" else f"--name c{number} "
        units.append(
            unit(
                name, line.get(way, f"podman run {named}{image_name}"), type="oneshot" if way == "oneshot" else "notify"
            )
        )
        place: dict[str, object] = {"state": state, "exit_code": draw(st.sampled_from((0, 0, 1)))}
        if way == "quadlet":
            place["label"] = name
        if way == "watched" and state == "running":
            place |= {"monitor": 7, "control_group": f"{GROUP}/{name}"}
        if way == "pod":
            place["pod"] = f"p{number}"
            containers.append(container(f"i{number}", "0", "", label=name, pod=f"p{number}", is_infra=True))
        if draw(st.integers(0, 5)):
            containers.append(container(f"c{number}", image, image_name, **place))
    return World(units, containers, names)


def is_true(world: World) -> bool:
    """Return whether each unit runs what its names mean: the definition of success, told once more and otherwise."""
    for number, each in enumerate(world.units):
        mine = [found for found in world.containers if found.name == f"c{number}"]
        oneshot = each.type == "oneshot"
        is_plain = not each.commands
        if not mine:
            if each.runs_podman and not oneshot:
                return False
            continue
        (found,) = mine
        if is_plain and not found.is_running:
            continue  # nobody can know whose it was
        if each.commands and not each.commands[0].container and not found.label:
            if not oneshot:
                return False
            continue
        ended_well = oneshot and found.has_ended_well
        if not (found.is_running or ended_well) or world.names.get(found.image_name) != found.image:
            return False
    return True


@given(worlds())
def test_what_is_verified_runs_what_its_names_mean_and_what_does_so_is_verified(world: World) -> None:
    mine = containers_of(world.units, world.containers)
    is_verified = False
    with suppress(StageError):
        verify(mine, world.names, {})
        verify_known(world.units, mine, world.containers, {})
        is_verified = True
    assert is_verified is is_true(world)
