"""Hostile data is text on every page, whatever it holds."""

import random
import time
from collections.abc import Callable, Iterator

import keptjobs
import pytest
from browser import PAGES, Open
from testhost import TestHost, Work

Clone = Callable[[str], Work]

SCRIPT = "<script>document.title='obeyed'</script><img src=x onerror=alert(1)>"
TRICKS = [
    f"{SCRIPT}</li></ol><h1 id=injected>in</h1>",
    "'\"><svg/onload=alert(2)><a href=javascript:alert(3)>x</a>{{7*7}}${7*7}<!--",
    "&lt;b&gt; &amp;amp; &#60;script&#62;",
    "\x1b[31mred\x1b[0m \x1b[2J\x1b[H\x1b]0;title\x07 \x1b]8;;javascript:alert(4)\x1b\\link\x1b]8;;\x1b\\ \x9b31m",
    "a\rb\x00c\x07d\x08e\x7f \u202egnp.exe\u202c \u2028 \u2066x\u2069 \ufeff",
    "\udcff\udcfe no UTF-8 \udcc3",
    'data: {"job":1}\n\nevent: end\ndata: {}\n\n',
    "\u0301" * 500 + "漢" * 300,
    "<" * 1_000_000,
    "\x1b[1m" * 50_000 + "m" * 50_000,
]


@pytest.fixture(scope="module")
def hostile(server: TestHost) -> Iterator[list[str]]:
    """Jobs that anybody who may push could have written."""
    now, jobs = time.time(), []
    for number, trick in enumerate(TRICKS):
        fields = {
            "repo": trick[:200_000],
            "ref": f"refs/heads/{trick[:200_000]}",
            "revision": trick[:1000] or "0" * 40,
            "pusher": trick[:1000],
            "state": trick[:1000] if number % 2 else "failed",
            "reason": trick[:100_000],
            "unit": trick[:1000],
            "image": trick[:1000],
            "created": trick[:100],
            "started": "9999-99-99T00:00:00Z" if number % 2 else "0001-01-01T00:00:00+23:59",
            "finished": "1e999",
            "attempt": trick[:100],
            "exit_status": "9" * 5000,
            "build_duration": "nan" if number % 2 else "-inf",
            "success": trick[:100],
            "output": trick,
            "unit_output": f"{trick}\n{SCRIPT}",
        }
        jobs.append(keptjobs.keep(server, fields, [trick, SCRIPT] if number % 3 else [], now + number))
    jobs.append(keptjobs.keep(server, {"repo": "probe", "ref": "refs/heads/x", "state": "building"}, TRICKS, now + 99))
    yield jobs
    keptjobs.forget(server, jobs)


def test_whatever_a_hash_says_is_shown_as_text(hostile: list[str], tab: Open) -> None:
    page = tab()
    for path in ["", "?state=failed", "repos", *(f"jobs/{job}" for job in hostile)]:
        assert page.open(path) == 200, path
        assert page.page.locator("#injected, img, svg:not(.trend), main script, main style, iframe").count() == 0, path
        assert page.page.locator("main [onload], main [onerror], a[href^='javascript:']").count() == 0, path
        assert "tinyci" in page.page.title(), path
        assert page.page.evaluate("document.title") != "obeyed"
        text = page.page.evaluate("document.querySelector('main').textContent")
        controls = [char for char in "\x00\x07\x1b\x9b\u202e\u2066\ufeff\u2028" if char in text]
        assert not controls, (path, controls)
        wide = page.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    page.open(f"jobs/{hostile[2]}")
    assert page.page.text_content("#output li:last-child") == SCRIPT, "it is there to be read"
    page.check()


def test_a_build_that_prints_such_things_is_followed_as_text(server: TestHost, work: Clone, tab: Open) -> None:
    server.fifo("/tmp/hostile.fifo")
    clone = work("probe")
    text = "\n".join(trick for trick in TRICKS if "\n" not in trick)
    clone.commit({"tricks": text.encode("utf-8", "surrogateescape")})
    clone.script("timeout 120 cat /tmp/hostile.fifo; cat tricks; echo; echo the end")
    job = server.push(clone).job
    page = tab()
    page.open(f"jobs/{job}")
    page.wait_for_state("#state", "building")
    server.sh("timeout 20 sh -c ': >/tmp/hostile.fifo'")
    page.wait_for("#output li:last-child", "the end")
    page.wait_for_state("#state", "succeeded")
    assert SCRIPT in page.page.evaluate("document.querySelector('#output').textContent")
    assert page.page.locator("#injected, main img, main script").count() == 0
    assert page.page.evaluate("document.title") != "obeyed"
    page.check()


def test_no_question_gives_an_internal_error(server: TestHost, hostile: list[str]) -> None:
    """A short run; tests/service sends more requests."""
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    places = ["", "repos", "repos/probe", "repos/probe/badge.svg", "events", "static/x", "metrics", "healthz"]
    places += ["api/jobs", "api/repos", "api/repos/probe"]
    places += [
        f"{start}jobs/{job}{end}" for job in hostile for start in ("", "api/") for end in ("", "/output", "/output.txt")
    ]
    names = ["repo", "ref", "state", "after", "before", "limit", "page", "x"]
    values = [
        "",
        "0",
        "-1",
        "9" * 30,
        "a",
        "..",
        "%00",
        "%ff",
        "%0d%0a",
        "%F0%9F%98%80",
        "null",
        "1e9",
        "<b>",
        "%2e%2e%2f",
    ]
    paths = []
    for _ in range(300):
        place = chance.choice(places)
        if chance.random() < 0.3:
            at = chance.randrange(len(place) + 1)
            place = (
                place[:at]
                + chance.choice(["%00", "%ff", "/", "//", "../", "%2f", "é", "x" * 300, "?", "%"])
                + place[at:]
            )
        query = "&".join(f"{chance.choice(names)}={chance.choice(values)}" for _ in range(chance.randrange(4)))
        paths.append(f"{place}?{query}" if query else place)
    config = "".join(f'url = "http://localhost/{path}"\noutput = /dev/null\n' for path in paths)
    results = server.sh(
        "curl --silent --unix-socket /run/tinyci-web/socket "
        "--globoff --path-as-is --max-time 1.5 --write-out '%{http_code} %{url}\\n' --config - || true",
        stdin=config,
        limit=300,
    ).splitlines()
    assert len(results) >= len(paths) // 2
    assert [line[:300] for line in results if line.startswith("5")] == []


def test_a_script_of_somebody_elses_would_be_refused_and_told(tab: Open) -> None:
    """The other tests rely on it."""
    page = tab()
    page.open("")
    page.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"
    )
    assert page.page.evaluate("window.ran === undefined")
    page.page.wait_for_timeout(0)
    assert any("script-src" in each for each in page.violations())
    assert page.complaints


def test_every_answer_says_what_browsers_may_do_with_it(server: TestHost) -> None:
    for path in ("", "repos", "no-such-page", "api/jobs", "api/no", "static/no"):
        headers = server.sh(f"curl --silent --head {PAGES}{path}").lower()
        for line in ("content-security-policy: default-src 'none'", "x-content-type-options: nosniff"):
            assert line in headers, (path, headers)
