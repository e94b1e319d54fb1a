"""A unit is made from the properties that are asked for, and from all of them."""

from typing import Any

from tinyci.systemd.unit import PROPERTIES, Unit, path_of


class NoteTaker(dict[str, Any]):
    """Properties of a unit that notes which of them are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def test_each_property_that_a_unit_is_made_from_is_read() -> None:
    properties = NoteTaker()
    Unit.parse("web.service", "/", properties)
    # The second half of a condition is looked at when there was one.
    assert properties.names | {"ConditionResult"} == PROPERTIES


def test_the_path_of_a_unit_is_the_one_that_systemd_gives_it() -> None:
    root = "/org/freedesktop/systemd1/unit/"
    assert path_of("tinyci-build@0af3.service") == f"{root}tinyci_2dbuild_400af3_2eservice"
    assert path_of("9p.mount") == f"{root}_39p_2emount"
    assert path_of("a_b.service") == f"{root}a_5fb_2eservice"
