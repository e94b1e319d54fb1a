"""Units of a repo that are up, and such that are not."""

import pytest
from tinyci.systemd.appunits import _is_well
from tinyci.systemd.unit import Unit


@pytest.mark.parametrize(
    "state, invocation, is_up",
    [
        ("active", "aa", True),
        ("reloading", "aa", True),
        ("refreshing", "aa", True),
        ("reloading", "bb", False),
        ("deactivating", "aa", False),
        ("failed", "aa", False),
    ],
)
def test_a_unit_that_reloads_is_well(state: str, invocation: str, is_up: bool) -> None:  # noqa: FBT001
    properties = {"ActiveState": state, "InvocationID": bytes.fromhex(invocation * 16)}
    assert _is_well(Unit.parse("web.service", "/", properties), "aa" * 16) is is_up
