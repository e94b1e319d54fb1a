"""podman auto-update beside tinyci: neither does the other harm."""

import subprocess

from app import App
from testhost import HOST


def test_a_container_that_updates_itself_is_deployed_all_the_same(app: App) -> None:
    """`podman auto-update` sees the image that a build has just made as well, and restarts the unit too."""
    server = app.server
    # As podman-auto-update.timer would, but without a pause; it ends when its stdin does.
    update = (
        "while :; do podman auto-update </dev/null >>/tmp/auto-update.log 2>&1\n"
        "read -t 0.05; [ $? -gt 128 ] || break; done"
    )
    become = [] if app.user == "root" else ["setpriv", "--reuid", app.user, "--regid", app.user, "--init-groups"]
    with app.unit_file(container="AutoUpdate=local"), server.repo_file(app.name, settle='"1s"'):
        app.deploy_good({"www/more": "before"})
        server.sh("rm -f /tmp/auto-update.log; touch /tmp/auto-update.log; chmod 666 /tmp/auto-update.log")
        environment = f"cd /; export XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=~{app.user}; "
        command = [HOST, "exec", server.name, "--", *become, "bash", "-c", f"{environment}{update}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as updating:
            try:
                for number in range(3):
                    job = app.deploy(f"{number}\n")
                    assert (job["state"], job["success"]) == ("succeeded", "true"), job
                    assert app.answer() == f"{number}\n"
                    assert job["running_image"] == app.image()
                bad = app.deploy("bad\n", command="exit 1")
                assert bad["state"] in ("rolled-back", "failed"), bad
                assert bad["success"] == "false"
                assert app.answer() == "2\n"
            finally:
                assert updating.stdin
                updating.stdin.close()
        lines = [line for line in server.sh("cat /tmp/auto-update.log").splitlines() if app.unit in line]
        print(f"{app.user}: looked {len(lines)} times, restarted {sum(line.endswith('true') for line in lines)} times")
        assert len(lines) > 10
