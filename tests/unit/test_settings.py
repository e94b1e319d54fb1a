"""tinyci.toml: every key has a default, and a wrong one is named."""

import pytest
from tinyci.model import settings
from tinyci.model.toml import ConfigError

FILE = "/etc/tinyci/tinyci.toml"


def test_an_empty_file_is_a_whole_configuration() -> None:
    result = settings.parse(FILE, "", cpus=3)
    assert result.redis_socket == "/run/redis-tinyci/redis.sock"
    assert result.parallel == 3
    assert (result.log_max, result.output_max) == (64 << 20, 64 << 10)
    assert (result.keep_jobs, result.keep_age) == (100, 90 * 86400)
    assert (result.web_url, result.notify_on) == ("", ("failure", "recovery"))


def test_every_key_is_taken_from_the_file() -> None:
    text = """
        parallel = 7
        [redis]
        socket = "/tmp/r.sock"
        [limits]
        log = 2048
        output = 4096
        [keep]
        jobs = 5
        age = "2h"
        [web]
        url = "https://example.org/ci"
        [notify]
        on = ["deploy"]
    """
    result = settings.parse(FILE, text, cpus=1)
    assert (result.redis_socket, result.parallel, result.log_max, result.output_max) == ("/tmp/r.sock", 7, 2048, 4096)
    assert (result.keep_jobs, result.keep_age) == (5, 7200)
    assert (result.web_url, result.notify_on) == ("https://example.org/ci/", ("deploy",))


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("parallel = 0", "parallel", "a whole number of at least 1"),
        ("parallel = true", "parallel", "a whole number of at least 1"),
        ("parallel = 1.5", "parallel", "a whole number of at least 1"),
        ('parallel = "2"', "parallel", "a whole number of at least 1"),
        ('[redis]\nsocket = "redis.sock"', "redis.socket", "the absolute path of a Unix socket"),
        ("[redis]\nsocket = 6379", "redis.socket", "the absolute path of a Unix socket"),
        ('redis = "/run/x"', "redis", "a table"),
        ("[limits]\nlog = 1023", "limits.log", "a whole number of at least 1024"),
        ("[limits]\noutput = -1", "limits.output", "a whole number of at least 1024"),
        ("limits = 5", "limits", "a table"),
        ("[keep]\njobs = 0", "keep.jobs", "a whole number of at least 1"),
        ('[web]\nurl = "ci.example.org"', "web.url", "an http:// or https:// URL"),
        (
            '[notify]\non = ["always"]',
            "notify.on",
            "a list of words out of failure, recovery, deploy, never",
        ),
        ("[keep]\nage = '59s'", "keep.age", "a time span of at least 1min, such as '90d'"),
    ],
)
def test_a_wrong_value_is_told_with_file_key_and_what_was_expected(text: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.parse(FILE, text, cpus=1)
    assert str(error.value).startswith(f"{FILE}: {key}: expected {expected}, but found ")


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("paralel = 2", "paralel", "keep, limits, notify, parallel, redis, web"),
        ('[redis]\nsokket = "/x"', "redis.sokket", "socket"),
        ("[limits]\nlogs = 2048", "limits.logs", "log, log_budget, output"),
    ],
)
def test_a_misspelt_key_is_told_with_the_ones_there_are(text: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.parse(FILE, text, cpus=1)
    assert str(error.value) == f"{FILE}: {key}: no such key; expected one of {expected}"


def test_what_is_not_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=rf"^{FILE}: not TOML: .*line 2"):
        settings.parse(FILE, "parallel = 1\n[redis\n", cpus=1)
