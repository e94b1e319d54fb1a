"""A repo's file is checked key by key, and what is wrong is told to who wrote it."""

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import repo
from tinyci.model.repo import Repo
from tinyci.model.toml import ConfigError

FILE = "/etc/tinyci/repos.d/web.toml"
LEAST = {"repository": '"/srv/git/web.git"', "user": '"web"'}


def toml(**changes: str | None) -> str:
    """A file of the least keys, with these changes, or left out where None."""
    return "".join(f"{key} = {value}\n" for key, value in {**LEAST, **changes}.items() if value is not None)


def test_two_keys_make_a_repo() -> None:
    result = repo.parse(FILE, toml())
    assert (result.name, result.repository, result.user) == ("web", "/srv/git/web.git", "web")
    assert (result.refs, result.units) == (("refs/heads/main", "refs/heads/master"), ())
    assert (result.script, result.health) == ("ci-build.sh", "")
    assert (result.timeout, result.restart_timeout, result.settle) == (1800, 300, 5)


def test_every_key_is_taken_from_the_file() -> None:
    text = """
        repository = "/srv/git/chaos-micropub.git"
        user = "root"
        refs = ["refs/tags/v*"]
        units = ["container-micropub.service", "web@1.socket"]
        script = "ci/build.sh"
        timeout = "1h 30min"
        restart_timeout = "90s"
        settle = 10
        health = "http://127.0.0.1:8080/health"
        health_headers = ["Host: web.example.org", "X-Forwarded-Proto:https"]
        health_status = ["2xx", "401"]
        notify = ["never"]
    """
    result = repo.parse("/x/chaos-micropub.toml", text)
    assert (result.name, result.repository) == ("chaos-micropub", "/srv/git/chaos-micropub.git")
    assert result.user == "root"
    assert result.refs == ("refs/tags/v*",)
    assert result.units == ("container-micropub.service", "web@1.socket")
    assert result.script == "ci/build.sh"
    assert (result.timeout, result.restart_timeout, result.settle) == (5400, 90, 10)
    assert result.health == "http://127.0.0.1:8080/health"
    assert result.health_header_values == {"Host": "web.example.org", "X-Forwarded-Proto": "https"}
    assert [status for status in (200, 204, 301, 401, 403) if result.accepts_status(status)] == [200, 204, 401]
    assert result.notify == ("never",)


def test_root_means_the_system_manager() -> None:
    assert repo.parse(FILE, toml(user='"root"')).is_root
    assert not repo.parse(FILE, toml(user='"rooty"')).is_root


PATH, USER, REFS = "the absolute path of a bare repository", "the name of a user", "a list of full ref names"
HEADERS, STATUS = "a list of headers, such as", "a list of statuses, such as"
UNITS, SCRIPT, HEALTH = "a list of unit names", "a path inside the repository", "an http:// or https:// URL"
LIMIT, SETTLE = "a time span of at least 1s", "a time span of at least 0s"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("repository", '"srv/web.git"', PATH),
        ("repository", '"/srv/../etc"', PATH),
        ("repository", r'"/srv/a\nb"', PATH),
        ("repository", r'"/srv/a\u0000b"', PATH),
        ("repository", "5", PATH),
        ("user", '""', USER),
        ("user", '"Web"', USER),
        ("user", '"-web"', USER),
        ("user", '"../web"', USER),
        ("user", '"web\\n"', USER),
        ("user", "1000", USER),
        ("refs", '"refs/heads/main"', REFS),
        ("refs", '["main"]', REFS),
        ("refs", '["refs/heads/main", 1]', REFS),
        ("units", '"web.service"', UNITS),
        ("units", '["web"]', UNITS),
        ("units", '["web.mount"]', UNITS),
        ("units", '["web.scope"]', UNITS),
        ("units", '["../web.service"]', UNITS),
        ("units", '["a b.service"]', UNITS),
        ("units", '["web.service\\n"]', UNITS),
        ("units", '[".service"]', UNITS),
        ("units", f'["{"x" * 250}.service"]', UNITS),
        ("script", '""', SCRIPT),
        ("script", '"/bin/sh"', SCRIPT),
        ("script", '"ci/../../sh"', SCRIPT),
        ("script", r'"ci\u0000.sh"', SCRIPT),
        ("timeout", '"soon"', LIMIT),
        ("timeout", '"999ms"', LIMIT),
        ("timeout", "0", LIMIT),
        ("timeout", "true", LIMIT),
        ("timeout", "[5]", LIMIT),
        ("timeout", "1979-05-27", LIMIT),
        ("timeout", "nan", LIMIT),
        ("timeout", "inf", LIMIT),
        ("timeout", f'"{"9" * 400}s"', LIMIT),
        ("restart_timeout", '"0.5s"', LIMIT),
        ("restart_timeout", "false", LIMIT),
        ("settle", '"-1s"', SETTLE),
        ("settle", "-1", SETTLE),
        ("settle", "false", SETTLE),
        ("settle", "{}", SETTLE),
        ("health", '"ftp://x"', HEALTH),
        ("health", '"localhost:80"', HEALTH),
        ("health", '"http://"', HEALTH),
        ("health", '"http://a b"', HEALTH),
        ("health", '"http://[::1"', HEALTH),
        ("health", '"http://[zz]/"', HEALTH),
        ("health", '"http://[1:2]/"', HEALTH),
        ("health", '"http://a:b/"', HEALTH),
        ("health", '"http://a:99999/"', HEALTH),
        ("health", '"http://a:0/"', HEALTH),
        ("health", '"http://a:80:80/"', HEALTH),
        ("health", '"http://:80/"', HEALTH),
        ("health", '"http://a]/"', HEALTH),
        ("health", '"http://a/\\u0007"', HEALTH),
        ("health", "80", HEALTH),
        ("health_headers", '["Host"]', HEADERS),
        ("health_headers", '["Host : web"]', HEADERS),
        ("health_headers", '["Host: a\\r\\nX: b"]', HEADERS),
        ("health_headers", '"Host: web"', HEADERS),
        ("health_status", "[200]", STATUS),
        ("health_status", '["2x"]', STATUS),
        ("health_status", '["600"]', STATUS),
        ("notify", '"failure"', "a list of words out of failure, recovery, deploy, never"),
        ("notify", '["success"]', "a list of words out of failure, recovery, deploy, never"),
    ],
)
def test_a_wrong_value_is_told_with_file_key_and_what_was_expected(key: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        repo.parse(FILE, toml(**{key: value}))
    message = str(error.value)
    assert message.startswith(f"{FILE}: {key}: expected {expected}")
    assert "but found " in message


def test_a_part_of_a_second_is_not_dropped() -> None:
    assert repo.parse(FILE, toml(settle='"2.5s"')).settle == 2.5
    assert repo.parse(FILE, toml(settle="2.5")).settle == 2.5


@pytest.mark.parametrize("key", list(LEAST))
def test_a_key_that_must_be_there_is_missed(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{FILE}: {key}: expected .*, but it is missing$"):
        repo.parse(FILE, toml(**{key: None}))


def test_a_misspelt_key_does_not_pass_as_its_default() -> None:
    with pytest.raises(ConfigError) as error:
        repo.parse(FILE, toml(unit='["web.service"]'))
    message = str(error.value)
    assert message.startswith(f"{FILE}: unit: no such key; expected one of ")
    assert all(key in message for key in Repo._fields if key != "name")


@pytest.mark.parametrize("text", ["repository", "repository = ", "[", "user = 'a'\nuser = 'b'\n", "\0"])
def test_what_is_not_toml_is_told_with_the_file(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{FILE}: not TOML: "):
        repo.parse(FILE, text)


@pytest.mark.parametrize("name", ["", ".", "..", "-web", ".web", "a b", "a/b", "ä", "x" * 65, "web\n"])
def test_a_name_that_could_not_be_a_file_a_key_and_an_argument_is_refused(name: str) -> None:
    assert not repo.is_name(name)
    if "/" not in name:
        with pytest.raises(ConfigError, match="expected a file name of"):
            repo.parse(f"/etc/tinyci/repos.d/{name}.toml", toml())


@pytest.mark.parametrize("name", ["web", "chaos-micropub", "a.b_c-1", "0", "x" * 64])
def test_usual_names_are_names(name: str) -> None:
    assert repo.parse(f"/etc/tinyci/repos.d/{name}.toml", toml()).name == name


@pytest.mark.parametrize(
    ("patterns", "ref", "deploys"),
    [
        (["refs/heads/main"], "refs/heads/main", True),
        (["refs/heads/main"], "refs/heads/maintenance", False),
        (["refs/heads/main"], "refs/heads/Main", False),
        (["refs/heads/main"], "refs/tags/main", False),
        (["refs/heads/release-*"], "refs/heads/release-1/2", True),
        (["refs/heads/release-?"], "refs/heads/release-10", False),
        (["refs/heads/a", "refs/tags/v[0-9]*"], "refs/tags/v1.0", True),
        ([], "refs/heads/main", False),
    ],
)
def test_refs_are_matched_whole_by_patterns(patterns: list[str], ref: str, *, deploys: bool) -> None:
    assert repo.parse(FILE, toml(refs=json.dumps(patterns))).deploys(ref) is deploys


VALUES = st.one_of(
    st.text().map(json.dumps),
    st.integers().map(str),
    st.floats(allow_infinity=False).map(str),
    st.lists(st.text().map(json.dumps)).map(lambda each: f"[{', '.join(each)}]"),
    st.sampled_from(["true", "{}", "[[]]", "1979-05-27T07:32:00Z", "07:32:00", "0x10", "'''\n'''"]),
)


@given(st.dictionaries(st.sampled_from(Repo._fields), VALUES))
def test_no_file_leads_to_another_error(changes: dict[str, str]) -> None:
    try:
        result = repo.parse(FILE, toml(**changes))
    except ConfigError as error:
        assert str(error).startswith(FILE)
    else:
        assert result.repository.startswith("/")
        assert result.timeout >= 1
        assert result.settle >= 0


def test_a_file_that_nests_too_deep_is_a_wrong_file() -> None:
    with pytest.raises(ConfigError):
        repo.parse(FILE, toml(refs="[" * 100_000))


def test_a_number_that_is_too_long_is_a_wrong_value() -> None:
    with pytest.raises(ConfigError):
        repo.parse(FILE, toml(settle="9" * 5000))


@given(st.text() | st.from_regex(r"https?://[a-z@:0-9\[\].?#/]{1,20}", fullmatch=True))
def test_a_url_that_is_taken_can_be_taken_apart(url: str) -> None:
    if repo.is_http(url):
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port is None or 0 < parts.port < 65536


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/health",
        "https://[::1]:8443/",
        "http://user:secret@web/?a=b#c",
        "http://web",
        "https://b\u00fccher.example/x",
    ],
)
def test_usual_urls_are_taken(url: str) -> None:
    assert repo.is_http(url)
