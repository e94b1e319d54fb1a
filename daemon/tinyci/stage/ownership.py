"""The containers of units: which container is run by which unit, told from systemd and podman together.

Pure: given what both say, it decides. A container belongs to the first unit that one of these says, in this order: the
label that podman gives it, the process that watches it (conmon) and its control group, its pod, the names in the unit's
command lines, its compose project.
"""

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyci.stage.podman import Container
from tinyci.stage.units import Unit


@dataclass(frozen=True)
class UnitContainer:
    """A container, with the unit that runs it."""

    container: Container
    unit: Unit

    @property
    def is_main(self) -> bool:
        """False for one that the unit runs beside what it is for, such as a migration before its start."""
        names = {command.container for command in self.unit.commands if command.container}
        side_names = {command.container for command in self.unit.other_commands if command.makes_container}
        return self.container.name in names or self.container.name not in side_names

    @property
    def is_leftover(self) -> bool:
        """True for one that ended, and that the unit does not start any more: its label tells of the past."""
        commands = [command for command in self.unit.commands if command.container and command.verb != "pod"]
        names = {command.container for command in commands}
        side_names = {command.container for command in self.unit.other_commands if command.makes_container}
        return not self.container.is_running and bool(names) and self.container.name not in names | side_names

    @property
    def is_well(self) -> bool:
        """True if it runs, or has done what it was there for."""
        if self.container.is_running or self.container.is_past_init:
            return True
        return self.container.has_ended_well and (self.unit.type == "oneshot" or not self.is_main)

    @property
    def title(self) -> str:
        return f"container {self.container.name} of {self.unit.name}"


def containers_of(
    units: Sequence[Unit], containers: Sequence[Container], pods: Mapping[str, set[str]] | None = None
) -> list[UnitContainer]:
    """Return the containers that those units run, without the infra containers of pods. `pods`: names among which those
    of a unit's pods are, by the name of the unit."""
    unit_by_id: dict[str, Unit] = {}
    for container in containers:
        if unit := _unit_of(container, units, pods or {}):
            unit_by_id[container.id] = unit
    unit_of_pod = {each.pod: unit_by_id[each.id] for each in containers if each.is_infra and each.id in unit_by_id}
    # A container that runs in a unit of its own within a pod stays that unit's.
    mine = [
        UnitContainer(each, unit_by_id.get(each.id) or unit_of_pod[each.pod])
        for each in containers
        if not each.is_infra and (each.id in unit_by_id or each.pod in unit_of_pod)
    ]
    return [each for each in mine if not each.is_leftover]


def _unit_of(container: Container, units: Sequence[Unit], pods: Mapping[str, set[str]]) -> Unit | None:
    for matches in (_has_label, _is_watched, _is_named, _is_of_project):
        if unit := next((each for each in units if matches(container, each)), None):
            return unit
    return next((unit for unit in units if container.pod_name and container.pod_name in pods.get(unit.name, ())), None)


def _has_label(container: Container, unit: Unit) -> bool:
    return container.label in unit.names


def _is_watched(container: Container, unit: Unit) -> bool:
    if not container.monitor or unit.name.endswith(".slice"):  # it has the groups of all that is in it
        return False
    if container.monitor == unit.main_pid:
        return True
    group = unit.control_group
    return bool(group) and f"{container.control_group}/".startswith(f"{group}/")


def _is_named(container: Container, unit: Unit) -> bool:
    return any(command.container == container.name for command in unit.commands if command.verb != "pod") or any(
        command.container == container.name for command in unit.other_commands if command.makes_container
    )


def _is_of_project(container: Container, unit: Unit) -> bool:
    projects = [command.project for command in unit.commands if command.engine == "compose"]
    if not projects or not container.project:
        return False
    default = re.sub(r"[^a-z0-9_-]", "", os.path.basename(unit.working_directory.rstrip("/")).lower())
    return any(container.project == (project or default) for project in projects)
