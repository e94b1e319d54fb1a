"""org.tinyci1.Job: one job on the bus, the fields of its hash as properties."""

from collections.abc import Mapping
from typing import Any

from tinyci.api import values
from tinyci.api.outputreader import OutputReader
from tinyci.api.polkit import Authority
from tinyci.api.requests import Requests, carry_out
from tinyci.dbus import names
from tinyci.dbus.bus import ServiceInterface
from tinyci.dbus.interface import method, prop
from tinyci.dbus.names import Action
from tinyci.model import fields
from tinyci.model.fields import Field


def path_of(job_id: str) -> str:
    """Return the object path of a job; D-Bus allows no dashes in one."""
    return f"{names.PATH}/job/_{job_id.replace('-', '')}"


class JobObject(ServiceInterface):  # type: ignore[misc]
    """One job. Its properties but Id are those of model/fields.py."""

    def __init__(
        self, job_id: str, texts: Mapping[str, str], requests: Requests, authority: Authority, output: OutputReader
    ) -> None:
        super().__init__(names.JOB)
        self.id = job_id
        self.fields = dict(texts)
        self._requests = requests
        self._authority = authority
        self._output = output

    @property
    def repo(self) -> str:
        return self.fields.get("repo", "")

    @property
    def state(self) -> str:
        return self.fields.get("state", "")

    @prop("const")
    def Id(self) -> "s":
        return self.id

    @method()
    async def Cancel(self):  # type: ignore[no-untyped-def]
        """Cancel this job, as Manager.Cancel() does."""
        await self._authority.authorize(Action.CANCEL, self.repo)
        await carry_out(self._requests.cancel(self.id))

    @method("position", "lines", "state")
    async def ReadOutput(self, after: "s", wait: "b") -> "sass":
        """Return the lines of the output after a position, the position after them, and the state of the job.

        The first position is the empty string; any other is what an earlier call returned. With `wait` the answer
        comes when there are lines or a change of the state, or after 20 s. Without lines in a final state there will
        be no more.
        """
        output = await carry_out(self._output.read(self.id, self.fields, after, wait=wait))
        return [output.position, [values.string(line) for line in output.lines], values.string(output.state)]

    def change(self, texts: Mapping[str, str]) -> None:
        """Take over fields, and emit PropertiesChanged for the properties whose value is another one now."""
        changes = {}
        for name, text in texts.items():
            field = fields.BY_NAME.get(name)
            if field and field.property_name:
                value = values.value_of(field.type, text)
                if value != values.value_of(field.type, self.fields.get(name, "")):
                    changes[field.property_name] = value
        self.fields.update(texts)
        if "state" in texts:
            self._output.wake(self.id)
        if changes:
            self.emit_properties_changed(changes)


def _property_of(field: Field) -> Any:
    def getter(job: JobObject) -> Any:
        return values.value_of(field.type, job.fields.get(field.name, ""))

    getter.__name__ = field.property_name
    getter.__annotations__ = {"return": field.signature}
    return prop("const" if field.is_constant else "true", field.property_name)(getter)


for _field in fields.PROPERTIES:
    setattr(JobObject, _field.property_name, _property_of(_field))
