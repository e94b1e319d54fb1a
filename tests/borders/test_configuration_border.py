"""Whatever stands in the files of /etc/tinyci, it is a right configuration or one short sentence about a wrong one."""

import json
import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cases import BYTES, TEXT, border, mutations
from hypothesis import strategies as st
from tinyci.model import repo, settings, timespan, toml
from tinyci.model.repo import NOTICES, Repo
from tinyci.model.repos import Repos
from tinyci.model.settings import Settings
from tinyci.model.toml import ConfigError

GOOD = """\
repository = "/srv/git/web.git"
user = "web"
refs = ["refs/heads/main", "refs/tags/v*"]
units = ["web.service", "web.socket"]
script = "ci/build.sh"
timeout = "30min"
restart_timeout = "5min"
settle = 2.5
verify_timeout = 120
health = "http://127.0.0.1:8080/healthz"
keep_images = 3
notify = ["failure", "recovery"]
"""
SETTINGS = """\
parallel = 2
[redis]
socket = "/run/redis-tinyci/redis.sock"
[limits]
log = 67108864
output = 65536
log_budget = 268435456
[keep]
jobs = 100
age = "90d"
[web]
url = "https://ci.example.org"
[notify]
on = ["failure"]
"""
LONGEST = 1000
"""Characters of a sentence about a wrong file, beside the name of that."""


def toml_text(text: str) -> str:
    return json.dumps(text.encode("utf-8", "replace").decode())


HUGE = st.integers(1, 6000).map(lambda count: "0x" + "f" * count) | st.integers(-(10**40), 10**40).map(str)
VALUES = st.recursive(
    st.one_of(
        TEXT.map(toml_text),
        HUGE,
        st.floats().map(lambda number: repr(number).replace("e", "e")),
        st.sampled_from(["true", "false", "2026-01-01", "07:32:00", "2026-01-01T00:00:00Z", "[]", "{}", "0.0", "-0"]),
        st.sampled_from(["web.service", "refs/x", "/srv/x", "5s", "1h 1min", "root", "http://x", *NOTICES]).map(
            toml_text
        ),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=4).map(lambda each: f"[{', '.join(each)}]"),
        values.map(lambda value: f"{{a = {value}}}"),
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(Repo._fields) | TEXT.map(toml_text)
FILES = st.one_of(
    BYTES,
    mutations(GOOD.encode()),
    st.dictionaries(KEYS, VALUES, max_size=5).map(
        lambda changes: "\n".join(
            f"{key} = {value}" for key, value in ({"repository": '"/srv/x"', "user": '"web"'} | changes).items()
        ).encode()
    ),
)
SETTINGS_KEYS = st.sampled_from(
    [
        *("parallel", "redis", "limits", "keep", "web", "notify", "redis.socket", "limits.log", "limits.output"),
        *("limits.log_budget", "keep.jobs", "keep.age", "web.url", "notify.on"),
    ]
)
SETTINGS_FILES = st.one_of(
    BYTES,
    mutations(SETTINGS.encode()),
    st.dictionaries(SETTINGS_KEYS, VALUES, max_size=5).map(
        lambda changes: "\n".join(f"{key} = {value}" for key, value in changes.items()).encode()
    ),
)


def is_sane(value: Any) -> bool:
    """True if a value of a configuration can be waited for, counted with, and shown."""
    if isinstance(value, bool | str):
        return True
    if isinstance(value, tuple):
        return all(isinstance(each, str) for each in value)
    return math.isfinite(value) and 0 <= value < 2**63


def check_sentence(error: Exception, file: object) -> None:
    sentence = str(error)
    assert sentence.startswith(str(file))
    assert len(sentence) < len(str(file)) + LONGEST
    assert sentence.isprintable() or "\n" not in sentence


@border(FILES, few=100)
def test_a_repos_file_is_a_repo_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "web.toml"
    file.write_bytes(content)
    try:
        found = repo.parse(str(file), toml.read(str(file)))
    except ConfigError as error:
        check_sentence(error, file)
        return
    assert found.name == "web"
    assert all(is_sane(value) for value in found)
    assert all(repo.is_unit(unit) for unit in found.units)
    assert found.repository.startswith("/") and ".." not in found.repository.split("/")
    assert not found.script.startswith("/") and ".." not in found.script.split("/")
    assert set(found.notify) <= set(NOTICES)
    assert found.timeout >= 1 and found.keep_images >= 1
    assert isinstance(found.deploys("refs/heads/main"), bool)
    assert found.only_ref == "" or found.deploys(found.only_ref)


@border(SETTINGS_FILES, few=100)
def test_the_settings_are_settings_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tinyci.toml"
    file.write_bytes(content)
    try:
        found = settings.parse(str(file), toml.read(str(file)), cpus=2, memory=2**33)
    except ConfigError as error:
        check_sentence(error, file)
        return
    assert all(is_sane(value) for value in found)
    assert found.parallel >= 1 and found.keep_age >= 60 and found.output_max >= 1024
    assert found.redis_socket.startswith("/")
    assert found.web_url == "" or found.web_url.endswith("/")
    assert isinstance(found, Settings)


@border(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40).filter(
            lambda name: name != "good"
        ),
        FILES,
        max_size=3,
    )
)
def test_a_wrong_file_stops_no_other(tmp_path: Path, files: dict[str, bytes]) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / "good.toml").write_text(GOOD)
    for name, content in files.items():
        (tmp_path / f"{name}.toml").write_bytes(content)
    repos = Repos.read(str(tmp_path))
    assert repos.by_name["good"].units == ("web.service", "web.socket")
    assert not repos.by_name.keys() & repos.errors.keys()
    assert all(repo.is_name(name) and found.name == name for name, found in repos.by_name.items())
    assert all(repos.missing_reason(name) for name in files)


@border(TEXT | st.text("0123456789.smhdwu µ", max_size=12), few=100)
def test_a_time_span_has_an_end_or_is_none(text: str) -> None:
    try:
        seconds = timespan.parse(text)
    except ValueError:
        return
    assert math.isfinite(seconds) and seconds >= 0
    again = timespan.parse(timespan.show(seconds))
    assert again == pytest.approx(seconds, abs=0.51 if seconds >= 60 else 0.0006, rel=1e-9)


@border(st.lists(TEXT | st.sampled_from(["web", ".service", "@", "\\x2d", ":"]), max_size=4).map("".join), few=100)
def test_a_name_of_a_unit_is_one_word_that_systemd_takes(text: str) -> None:
    if not repo.is_unit(text):
        return
    # systemd.unit(5): at most 255 characters out of letters, digits, and five others; the job's hash and its Status
    # have several names between blanks, and the manager has them in its object paths.
    assert len(text) <= 255 and text.isascii() and text.split() == [text]
    prefix, _, kind = text.rpartition(".")
    assert kind in ("service", "socket", "target", "path", "timer")
    assert prefix and prefix.count("@") <= 1 and not prefix.startswith("@")
    assert set(prefix) - set("@:_.-\\") <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


@border(TEXT, few=100)
def test_a_name_of_a_repo_is_a_file_a_key_and_an_argument(text: str) -> None:
    if not repo.is_name(text):
        return
    assert text.isascii() and text.isprintable() and 1 <= len(text) <= 64
    assert not set(text) & set("/: \\'\"*?[]{}%$`") and text[0] not in ".-_"
    assert repo.parse(f"/etc/tinyci/repos.d/{text}.toml", GOOD).name == text


@border(st.lists(TEXT, max_size=4), TEXT, few=100)
def test_a_pattern_of_refs_matches_or_does_not(patterns: list[str], ref: str) -> None:
    found = Repo.placeholder("web", "web")._replace(refs=tuple(f"refs/{pattern[:300]}" for pattern in patterns))
    assert found.deploys(f"refs/{ref}") == any(fnmatchcase(f"refs/{ref}", pattern) for pattern in found.refs)
