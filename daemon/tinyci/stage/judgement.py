"""The judgement on what a build made and on what runs: pure, given what systemd and podman say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tinyci.stage.commandline import image_names
from tinyci.stage.ownership import UnitContainer
from tinyci.stage.podman import Container
from tinyci.stage.status import StageError
from tinyci.stage.units import Unit, wanted_images


@dataclass(frozen=True)
class Next:
    """The images that units run next."""

    units_of: Mapping[str, Sequence[str]]
    """The units that run an image, by its full name."""
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The units that cannot start, by the name of an image that there is not."""
    has_unknown: bool = False
    """True if some unit may run something new whatever the images are: a program that is in no container, or an image
    that is built at its start."""

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.units_of)

    def title(self, names: Sequence[str]) -> str:
        """The units of those images, as a list for a sentence."""
        every = {**self.units_of, **self.missing}
        return ", ".join(dict.fromkeys(unit for name in names for unit in every.get(name, ())))


def next_images(
    units: Sequence[Unit], names: Mapping[str, str], containers: Sequence[UnitContainer], last: Mapping[str, str]
) -> Next:
    """Tell what units run next: what their command lines name, or else what their containers were made of. `last`:
    images by name that ran before the build, for when neither tells anything."""
    units_of: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    has_unknown = False
    for unit in units:
        texts = wanted_images(unit) or [each.container.image_name for each in containers if each.unit.name == unit.name]
        is_program = unit.name.endswith(".service") and not (texts or unit.members or unit.runs_podman)
        has_unknown |= bool(unit.builders) or is_program
        for text in texts:
            candidates = image_names(text)
            name = next((each for each in candidates if each in names), candidates[0])
            # What has a registry may be pulled by the unit itself.
            is_missing = name not in names and name.startswith("localhost/") and not unit.builders
            (missing if is_missing else units_of).setdefault(name, []).append(unit.name)
    if not units_of and not missing:
        units_of = {name: [unit.name for unit in units] for name in last}
    return Next({name: entries for name, entries in units_of.items() if name in names}, missing, has_unknown)


def refuse_missing(
    nexts: Next, before: Mapping[str, str], names: Mapping[str, str], is_ours: Callable[[str], bool]
) -> None:
    """Raise StageError if a unit is to run an image that there is not. `before`: images by name before the build."""
    if not nexts.missing:
        return
    missing_names = list(nexts.missing)
    title = nexts.title(missing_names)
    if lost_names := [name for name in missing_names if name in before]:
        raise StageError(
            f"the build removed {', '.join(lost_names)}, which {title} runs: podman image prune --all removes what no "
            "container runs yet, so leave out --all in the script"
        )
    new_names = sorted(name for name, image in names.items() if before.get(name) != image)
    new_names = [name for name in new_names if not is_ours(name) and "@" not in name]
    if new_names:
        raise StageError(stray_reason(new_names, missing_names, title))
    raise StageError(
        f"there is no image {', '.join(missing_names)}, which {title} runs, and the build made none: build it with "
        "that name (podman build --tag)"
    )


def stray_reason(strays: Sequence[str], names: Sequence[str], title: str) -> str:
    return (
        f"the build made {', '.join(sorted(strays)[:5])}, and no new {', '.join(names)}, "
        f"which {title} runs: build it with that name (podman build --tag)"
    )


@dataclass(frozen=True)
class Situation:
    """All that runs when a build has ended, and all that is to run next."""

    units: Sequence[Unit]
    ids: Mapping[str, str]
    """The image of each name that is to run."""
    containers: Sequence[UnitContainer]

    @property
    def is_running_all(self) -> bool:
        """True if a restart would change nothing: each unit's containers run what their names mean."""
        for unit in self.units:
            mine = [each for each in self.containers if each.unit.name == unit.name]
            if unit.name.endswith(".service") and unit.type != "oneshot" and not unit.members and not mine:
                return False
            if unit.type != "oneshot" and not unit.is_up:
                return False
            if any(
                not each.is_well or self.ids.get(each.container.image_name) != each.container.image for each in mine
            ):
                return False
        return bool(self.containers)


def refuse_stale(situation: Situation, names: Mapping[str, str]) -> None:
    """Raise StageError for a unit whose restart would not run what the build made, or of which that could not be
    known."""
    for unit in (*_docker_units(situation.units), *unknown_units(situation.units, situation.containers)):
        raise StageError(unknown_reason(unit))
    for each in _started_again(situation.containers):
        if names.get(each.container.image_name) != each.container.image:
            raise StageError(_started_again_reason(each, "an older"))
    for target, each in _left_running(situation.units, situation.containers):
        if _is_old(each, situation.ids):
            raise StageError(_left_running_reason(target, each.unit))


def doubts(units: Sequence[Unit], containers: Sequence[UnitContainer]) -> list[str]:
    """Return a sentence on each unit that no deploy could restart as it should, before any was built."""
    sentences = [unknown_reason(unit) for unit in (*_docker_units(units), *unknown_units(units, containers))]
    sentences += [_started_again_reason(each, "the present") for each in _started_again(containers)]
    sentences += [_left_running_reason(target, each.unit) for target, each in _left_running(units, containers)]
    return list(dict.fromkeys(sentences))


def _started_again(containers: Sequence[UnitContainer]) -> list[UnitContainer]:
    """Return the containers that their units start again, instead of making new ones."""
    return [
        each
        for each in containers
        if any(command.verb == "start" and command.container == each.container.name for command in each.unit.commands)
    ]


def _left_running(units: Sequence[Unit], containers: Sequence[UnitContainer]) -> list[tuple[Unit, UnitContainer]]:
    """Return the containers that a restart of a target leaves alone, each with the target."""
    targets = [unit for unit in units if unit.name.endswith(".target")]
    parts = {name for target in targets for name in target.links.get("ConsistsOf", ())}
    return [
        (target, each)
        for target in targets
        for each in containers
        if each.unit.is_member and each.unit.name in target.members and each.unit.name not in parts
    ]


def _is_old(each: UnitContainer, ids: Mapping[str, str]) -> bool:
    return ids.get(each.container.image_name, each.container.image) != each.container.image


def _left_running_reason(target: Unit, unit: Unit) -> str:
    return (
        f"a restart of {target.name} does not restart {unit.name}: write PartOf={target.name} in its [Unit], or list "
        f"{unit.name} in 'units'"
    )


def _started_again_reason(each: UnitContainer, which: str) -> str:
    container, unit = each.container, each.unit
    file = next((path for path in unit.files if path.endswith(unit.name)), "")
    return (
        f"{unit.name} starts container {container.name} again, which was made of {which} {container.image_name}, so "
        f"it would never run a new one: let it make a new container at each start (podman generate systemd --new "
        f"--name {container.name} >{file or unit.name}, then daemon-reload; or a Quadlet), and push again"
    )


def unknown_units(units: Sequence[Unit], mine: Sequence[UnitContainer]) -> list[Unit]:
    """Return the units that are up, should run a container, and run none that is known."""
    owners = {each.unit.name for each in mine}
    return [
        unit
        for unit in units
        if unit.is_up and unit.runs_podman and unit.type != "oneshot" and unit.name not in owners and not unit.members
    ]


def is_known(units: Sequence[Unit], containers: Sequence[UnitContainer]) -> bool:
    """Return whether containers that were found before a build tell enough of the units after it: not where a script
    may make a container that a unit starts."""
    is_start = any(command.verb == "start" for unit in units for command in unit.commands)
    return not is_start and not unknown_units(units, containers)


def _docker_units(units: Sequence[Unit]) -> list[Unit]:
    return [unit for unit in units if any(command.engine == "docker" for command in unit.commands)]


def unknown_reason(unit: Unit) -> str:
    if any(command.engine == "docker" for command in unit.commands):
        return f"{unit.name} starts docker, of which tinyci cannot know what it runs: start podman instead"
    return (
        f"it cannot be known which containers {unit.name} runs: write Environment=PODMAN_SYSTEMD_UNIT=%n in its "
        "[Service], or name its container (podman run --name)"
    )


# -- what runs ---------------------------------------------------------------------------------------------------------


def verify(mine: Sequence[UnitContainer], names: Mapping[str, str], goals: Mapping[str, str]) -> None:
    """Raise StageError unless each container runs what its name stands for, and that is what was built or gone back
    to."""
    for each in mine:
        container = each.container
        name = container.image_name
        if not each.is_well:
            raise StageError(f"{each.title} does not run")
        image = names.get(name, "")
        if not image and not container.image.startswith(name) and name != container.image:
            raise StageError(f"{each.title} runs image {container.image[:12]}, and no image is called {name} any more")
        if goals.get(name, image) != image:
            raise StageError(
                f"{name} is image {image[:12]} now, and was {goals[name][:12]} when it was built: "
                "somebody gave the name away since (podman auto-update rolls back so)"
            )
        if image and container.image != image:
            raise StageError(
                f"{each.title} runs image {container.image[:12]}, while {name} is {image[:12]}: its unit starts an old "
                "container again; let it make a new one (a Quadlet, or podman generate systemd --new)"
            )


def verify_known(
    units: Sequence[Unit],
    mine: Sequence[UnitContainer],
    containers: Sequence[Container],
    moved: Mapping[str, tuple[str, str]],
) -> None:
    """Raise StageError when a unit is up whose containers cannot be told, or when nobody's container runs an older
    image of a name that the build moved. `moved`: the image before and after, by name."""
    for unit in unknown_units(units, mine):
        raise StageError(unknown_reason(unit))
    for unit in units:
        if unit.is_member and unit.runs_podman and unit.type != "oneshot" and not unit.is_up:
            raise StageError(
                f"{unit.name}, which is a part of what was restarted, is not up: it is {unit.active_state}"
            )
    owners = {each.unit.name for each in mine}
    open_units = [unit.name for unit in units if unit.is_up and unit.name not in owners and not unit.members]
    own_ids = {each.container.id for each in mine}
    for container in containers:
        before, after = moved.get(container.image_name, ("", ""))
        is_nobodys = container.is_running and container.id not in own_ids and not container.label
        if open_units and is_nobodys and before != after and container.image == before:
            raise StageError(
                f"container {container.name} runs the image that {container.image_name} was before, and it cannot be "
                f"known whether {', '.join(open_units)} runs it: write Environment=PODMAN_SYSTEMD_UNIT=%n in its "
                "[Service]"
            )
