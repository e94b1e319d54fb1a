"""The looks of the pages, on a desk and on a phone, by day and by night, and their accessibility."""

import json
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import keptjobs
import pytest
from browser import Open
from testhost import TestHost, Work

Clone = Callable[[str], Work]

WIDTHS = {"desk": 1280, "phone": 390}
SCHEMES = ("light", "dark")
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()

# What a build prints that people look at for long: lines of some length, colours, and an end that says what is wrong.
BUILD = r"""
set -eu
echo "STEP 1/6: FROM localhost/alpine:3.20"
printf '\033[1;34m==>\033[0m Fetching \033[33m42\033[0m packages\n'
for n in 1 2 3 4 5 6 7 8; do printf '\033[2m(%d/8)\033[0m Installing lib%s (1.%d.0-r1)\n' $n $n $n; done
echo "Compiled and then checked src/a/rather/long/path/with/a/rather/long/file_name.c for what it says there"
printf '\033[33mwarning:\033[0m unused variable \033[1mcount\033[0m\n'
"""


@pytest.fixture(scope="module")
def scenes(server: TestHost, work: Clone) -> Iterator[dict[str, str]]:
    """Paths of the pages to look at, by name, with something to see on each."""
    jobs = keptjobs.fill(server, 60, time.time() - 300)
    app = next(iter(server.redis(f"hget tinyci:job:{jobs[0]} repo")))
    server.fifo("/tmp/looked.fifo")
    clone = work("probe")
    for ending in ("", "printf '\\033[1;31merror:\\033[0m no rule to make target \\033[1minstall\\033[0m\\n'; exit 2"):
        clone.script(f"{BUILD}\n{ending}")
        failure = server.deploy(clone)["id"]
    clone.script(f"{BUILD}\ntimeout 300 cat /tmp/looked.fifo")
    running = server.push(clone).job
    server.wait(running, ("building",))
    server.redis(f"xread block 20000 count 1 streams tinyci:log:{running} 11")
    yield {
        "list": "",
        "running": f"jobs/{running}",
        "failed": f"jobs/{failure}",
        "repo": f"repos/{app}",
        "repos": "repos",
        "error": "jobs/00000000-0000-4000-8000-000000000000",
    }
    server.sh("timeout 20 sh -c ': >/tmp/looked.fifo'")
    server.wait(running)
    keptjobs.forget(server, jobs)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("where", WIDTHS)
def test_pages_fit_and_are_free_of_barriers(
    tab: Open, scenes: dict[str, str], shots: Path, where: str, scheme: str
) -> None:
    viewport = {"width": WIDTHS[where], "height": 844 if where == "phone" else 800}
    # Only for axe's own script: pages refuse all that is not theirs.
    page = tab(viewport=viewport, color_scheme=scheme, bypass_csp=True)
    violations = {}
    for name, path in scenes.items():
        page.open(path)
        page.page.screenshot(path=shots / f"{name}-{where}-{scheme}.png", full_page=name != "list")
        wide = page.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the screen"
        if (where, scheme) == ("phone", "dark"):
            continue  # the layout of the one, and the colours of the other
        page.page.evaluate(AXE)
        report = page.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(report["passes"]) > 10, "that it looked at all"
        violations[name] = [
            f"{each['impact']} {each['id']}: {each['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for each in report["violations"]
            for node in each["nodes"]
        ]
    print(json.dumps(violations, indent=1))
    serious = [each for name in violations for each in violations[name] if each.startswith(("serious", "critical"))]
    assert serious == []
