"""Whatever is away, pages say so and come back by themselves; and deploys go on without the pages."""

from collections.abc import Callable, Iterator

import pytest
from browser import PAGES, Open
from testhost import TestHost, Work

Clone = Callable[[str], Work]


@pytest.fixture(autouse=True)
def no_traceback(server: TestHost) -> Iterator[None]:
    """Nothing that a person can cause is told as a defect of ours."""
    cursor = server.sh("journalctl --lines=0 --show-cursor").split()[-1]
    yield
    messages = server.sh(f"journalctl --after-cursor='{cursor}' -o cat -u tinyci -u tinyci-web -u tinyci-notify")
    assert "Traceback" not in messages, messages


def status(server: TestHost, path: str = "") -> str:
    return server.sh(
        f"curl --silent --output /dev/null --write-out '%{{http_code}}' --max-time 5 {PAGES}{path} || true"
    )


def wait_for_answer(server: TestHost, status_code: str = "200") -> None:
    """Wait until the list is answered so: what was read of Redis is shown for half a second more."""
    ask = f"curl --silent --output /dev/null --write-out %{{http_code}} {PAGES}"
    server.sh(f"timeout 60 sh -c 'until {ask} | grep -qx {status_code}; do sleep 0.2; done'")


def test_without_redis_pages_say_so_and_come_back(server: TestHost, work: Clone, tab: Open) -> None:
    work("probe").script("echo once")
    job = server.deploy(work("probe"))["id"]
    jobs = tab()
    jobs.open("")
    server.sh("systemctl stop redis-server@tinyci")
    try:
        wait_for_answer(server, "503")
        for path in ("", f"jobs/{job}", "repos", "repos/probe"):
            page = tab()
            assert page.open(path) == 503
            print(page.text("main"))
            assert "Redis" in page.text(".reason")
            assert "Pushes are kept" in page.text(".reason")
        assert status(server, "api/jobs") == "503"
        jobs.wait_for("#notice")
    finally:
        server.sh("systemctl start redis-server@tinyci")
    wait_for_answer(server)
    # The page that was open all the while shows what happens from now on.
    work("probe").script("echo again")
    later = server.push(work("probe")).job
    jobs.wait_for_state(f'tr[data-job="{later}"]', "succeeded")
    jobs.page.locator("#notice").wait_for(state="hidden")
    assert jobs.navigations == []


def test_a_page_goes_on_when_the_pages_were_killed(server: TestHost, work: Clone, tab: Open) -> None:
    server.fifo("/tmp/away.fifo")
    work("probe").script("echo begun; timeout 120 cat /tmp/away.fifo; echo over")
    job = server.push(work("probe")).job
    page = tab()
    page.open(f"jobs/{job}")
    page.wait_for("#output li:last-child", "begun")
    server.kill("tinyci-web")
    server.sh("timeout 20 sh -c ': >/tmp/away.fifo'")
    assert server.wait(job)["state"] == "succeeded"
    page.wait_for_state("#state", "succeeded")
    assert page.page.inner_text("#output").splitlines() == ["begun", "over"], "each line once"
    assert page.navigations == []


def test_deploys_go_on_without_the_pages(server: TestHost, work: Clone, tab: Open) -> None:
    """Stopped, with a password that Redis does not know, and with none."""
    file = "/etc/tinyci/credentials/redis-web"
    script = work("probe").script
    server.sh("systemctl stop tinyci-web.socket tinyci-web.service")
    try:
        script("echo without the pages")
        assert server.deploy(work("probe"))["state"] == "succeeded"
        assert status(server) == "502"
    finally:
        server.sh("systemctl start tinyci-web.socket")
    assert status(server) == "200"
    server.sh(f"mv {file} {file}.kept; echo wrong >{file}; systemctl restart tinyci-web.service")
    try:
        page = tab()
        assert page.open("") == 503
        print(page.text("main"))
        script("echo with a wrong password")
        assert server.deploy(work("probe"))["state"] == "succeeded"
        server.sh(f"rm {file}; systemctl stop tinyci-web.service")
        script("echo with none")
        assert status(server) != "200"
        assert server.deploy(work("probe"))["state"] == "succeeded"
    finally:
        server.sh(f"mv {file}.kept {file}; systemctl reset-failed tinyci-web.service tinyci-web.socket || true")
        server.sh("systemctl stop tinyci-web.service; systemctl start tinyci-web.socket")
    wait_for_answer(server)


def test_pages_are_read_without_the_daemon(server: TestHost, work: Clone, tab: Open) -> None:
    work("probe").script("echo before")
    job = server.deploy(work("probe"))["id"]
    server.sh("systemctl stop tinyci")
    try:
        page = tab()
        assert page.open("") == 200
        assert page.open(f"jobs/{job}") == 200
        assert page.text("#output") == "before"
        work("probe").script("echo after")
        waiting = server.push(work("probe")).job
        page.open(f"jobs/{waiting}")
        assert page.text("#state") == "○ queued"
    finally:
        server.sh("systemctl start tinyci")
    page.wait_for_state("#state", "succeeded")


def test_what_the_pages_may_do_is_little(server: TestHost) -> None:
    server.sh("systemd-analyze security --no-pager --threshold=2 tinyci-web.service")
    # It knows Redis alone, and may only read there.
    user = (
        "redis-cli -s /run/redis-tinyci/redis.sock --no-auth-warning --user web "
        '--pass "$(cat /etc/tinyci/credentials/redis-web)"'
    )
    for command in ("del tinyci:queue", "lpush tinyci:queue x", "hset tinyci:job:x a b", "xadd tinyci:events '*' a b"):
        assert "NOPERM" in server.sh(f"{user} {command}"), command
    for path in ("metrics", "healthz"):
        assert status(server, path) == "403", "from elsewhere"
        assert server.sh(f"curl --silent --fail --unix-socket /run/tinyci-web/socket http://localhost/{path}"), (
            "on the server itself"
        )


def test_nobody_comes_in_beside_nginx(server: TestHost) -> None:
    """Nginx asks for passwords; what an app's user or container could reach on the server would ask nobody."""
    assert server.sh("stat -c '%U %G %a' /run/tinyci-web/socket") == "root www-data 660\n"
    for user in ("nobody", "git", "hello-quadlet"):
        assert server.run("curl --silent http://127.0.0.1:8190/api/jobs", user).status == 7, "refused"
        socket = "--unix-socket /run/tinyci-web/socket"
        assert server.run(f"curl --silent {socket} http://localhost/api/jobs", user).status == 7, "denied"
    assert status(server, "api/jobs") == "200"
