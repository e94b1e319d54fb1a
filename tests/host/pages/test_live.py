"""A push as somebody sees it who has a page open: queued, building, line by line, and how it ended."""

from collections.abc import Callable

import pytest
from browser import Open
from testhost import TestHost, Work

Clone = Callable[[str], Work]

HELD = "timeout 120 cat /tmp/seen.fifo"
COLOURS = r"printf '\033[1;32mgreen and bold\033[0m and \033[38;5;208morange\033[0m\n'"


@pytest.fixture
def release(server: TestHost) -> Callable[[], str]:
    """A build that says HELD waits for it."""
    server.fifo("/tmp/seen.fifo")
    return lambda: server.sh("timeout 20 sh -c ': >/tmp/seen.fifo'")


def test_an_open_page_shows_a_push_from_queued_to_succeeded(
    server: TestHost, work: Clone, tab: Open, release: Callable[[], str]
) -> None:
    """The list and then the job's page, neither of them loaded again."""
    jobs, first = tab(), tab()
    assert jobs.open("") == 200
    marker = jobs.page.evaluate("window.marker")
    # The first of two jobs keeps the second one waiting, so that it is seen to be queued.
    work("probe").script(f"echo first; {HELD}")
    ahead = server.push(work("probe")).job
    row = f'tr[data-job="{ahead}"]'
    jobs.wait_for_state(row, "building")
    work("probe").script(f"{COLOURS}; echo begun; {HELD}; echo over")
    job = server.push(work("probe")).job
    row = f'tr[data-job="{job}"]'
    jobs.wait_for_state(row, "queued")
    assert first.open(f"jobs/{job}") == 200
    first_marker = first.page.evaluate("window.marker")
    assert first.text("#state") == "○ queued"
    assert first.text("#no-output") == "No output yet."
    release()
    first.wait_for_state("#state", "building")
    jobs.wait_for_state(row, "building")
    first.wait_for("#output li:last-child", "begun")
    assert server.job(job)["state"] == "building", "its lines came while it built"
    assert first.page.inner_text("#output li:first-child") == "green and bold and orange"
    colours = first.page.evaluate(
        "[...document.querySelectorAll('#output li:first-child span')].map(each => getComputedStyle(each).color)"
    )
    assert len(set(colours)) == 2, colours
    release()
    first.wait_for_state("#state", "succeeded")
    jobs.wait_for_state(row, "succeeded")
    first.wait_for("#job[data-ended=yes]")
    assert first.page.inner_text("#output").splitlines()[1:] == ["begun", "over"]
    assert "succeeded" in first.page.title()
    assert first.page.inner_text('[data-stage="build"] .status') == "done"
    # No page went anywhere for it.
    assert (jobs.page.evaluate("window.marker"), jobs.navigations) == (marker, [])
    assert (first.page.evaluate("window.marker"), first.navigations) == (first_marker, [])
    jobs.check()
    first.check()


def test_a_failure_is_seen_with_its_reason(
    server: TestHost, work: Clone, tab: Open, release: Callable[[], str]
) -> None:
    work("probe").script(f"echo begun; {HELD}; echo no such thing >&2; exit 3")
    job = server.push(work("probe")).job
    page = tab()
    page.open(f"jobs/{job}")
    page.wait_for_state("#state", "building")
    release()
    page.wait_for_state("#state", "failed")
    page.wait_for("#output li:last-child", "no such thing")
    assert page.text("#reason") == server.job(job)["reason"]
    assert page.text('[data-stage="build"] .status') == "failed"
    page.check()


def test_without_javascript_the_same_is_read(
    server: TestHost, work: Clone, tab: Open, release: Callable[[], str]
) -> None:
    """While it runs, and when the page is loaded again after its end."""
    work("probe").script(f"{COLOURS}; echo begun; {HELD}; echo over")
    job = server.push(work("probe")).job
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{job} 1")
    page = tab(java_script_enabled=False)
    page.open(f"jobs/{job}")
    assert "building" in page.text("#state")
    assert page.text("#output li:nth-child(2)") == "begun"
    assert "load it again" in page.text("noscript")
    page.open("")
    assert "building" in page.text(f'tr[data-job="{job}"] .c-state')
    release()
    hash_fields = server.wait(job)
    assert page.open(f"jobs/{job}") == 200
    assert "succeeded" in page.text("#state")
    assert page.text("#output") == "green and bold and orange begun over"
    assert hash_fields["revision"] in page.text("#facts")
    page.open("repos/probe")
    assert job[:8] in page.text("#runs")
    assert page.complaints == []


def test_a_link_leads_back_and_forth(server: TestHost, work: Clone, tab: Open) -> None:
    """Below a path that the proxy takes away, every link still leads somewhere."""
    page = tab()
    page.open("")
    urls, queue = set[str](), [page.page.url]
    while queue:
        url = queue.pop()
        if url in urls or len(urls) > 25:
            continue
        urls.add(url)
        answer = page.page.goto(url)
        assert answer
        assert answer.ok, f"{url}: {answer.status}"
        if "text/html" in answer.headers["content-type"]:
            links = page.page.eval_on_selector_all("a[href]", "links => links.map(link => link.href.split('#')[0])")
            assert all(link.startswith("http://127.0.0.1/ci/") for link in links), links
            # A page of each kind is enough.
            queue += [link for link in links if not any(kind_of(link) == kind_of(other) for other in urls)]
    assert len({kind_of(url) for url in urls}) >= 7, urls


def kind_of(url: str) -> str:
    """The URL with one name for all jobs, and without that of a repo."""
    path = url.removeprefix("http://127.0.0.1/ci/").partition("?")
    parts = path[0].split("/")
    return "/".join([part if len(part) != 36 else "JOB" for part in parts[:1] + parts[2:]]) + path[1]


def test_the_keyboard_reaches_everything(server: TestHost, work: Clone, tab: Open) -> None:
    work("probe").script("seq 100")
    job = server.deploy(work("probe"))["id"]
    page = tab()
    page.open("")
    page.page.keyboard.press("Tab")
    assert page.text(":focus") == "Skip to the content"
    assert page.page.evaluate("document.activeElement.getBoundingClientRect().left >= 0"), "and it is seen"
    page.page.keyboard.press("Enter")
    assert page.page.evaluate("document.activeElement.id") == "main"
    names = []
    for _ in range(12):
        page.page.keyboard.press("Tab")
        names.append(page.page.evaluate("document.activeElement.name || document.activeElement.getAttribute('href')"))
    assert names[:3] == ["repo", "ref", "state"]
    assert any(job in (name or "") for name in names), names
    page.page.fill("[name=repo]", "probe")
    page.page.press("[name=repo]", "Enter")
    page.page.wait_for_url("**/?repo=probe*")
    page.open(f"jobs/{job}")
    page.page.focus("#log")
    page.page.evaluate(
        "window.scrolled = new Promise(seen => document.activeElement.addEventListener('scroll', seen)); null"
    )
    page.page.keyboard.press("PageUp")
    page.page.evaluate("window.scrolled.then(() => true)")
    page.check()
