"""Versions have the order that people mean."""

import random

import pytest
from tinyci.model.version import order


@pytest.mark.parametrize(
    "versions",
    [
        ["v0.9", "v1", "1.0.1", "v1.9", "v1.10", "2.0"],
        # semver.org, 11
        ["1.0.0-alpha", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"],
        ["v2.0rc1", "v2.0", "v2.0+1", "v2.0+2", "v2.0.1-rc1", "v2.0.1"],
        ["release-2024-02-29", "release-2024-10-01", "release-2025-01-01"],
        ["1", "9" * 5000, "1" + "0" * 5000],
    ],
)
def test_each_version_comes_after_those_that_lead_to_it(versions: list[str]) -> None:
    names = random.Random(1).sample(versions, len(versions))
    assert sorted(names, key=order) == versions
