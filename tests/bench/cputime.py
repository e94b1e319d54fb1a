"""CPU time of one trivial job, by the control groups of whoever works for it."""

from benchhost import BenchHost
from measurement import number, table
from pushes import job_of

UNITS = {
    "the daemon": "tinyci.service",
    "tinyci-notify": "tinyci-notify.service",
    "Redis": "redis-server@tinyci.service",
    "journald": "systemd-journald.service",
    "the system's bus": "dbus.service",
    "PID 1": "init.scope",
    "the gate": "tinyci-gate@{uid}.service",
    "the reference's loop": "bench-loop-probe-1.service",
    "the reference's Redis": "bench-redis.service",
}


def cpu(host: BenchHost) -> str:
    """Return the milliseconds that one job takes, of tinyci and of the reference, as a table."""
    work, repos = host.work("probe-1"), ("loop-probe-1", "probe-1")
    work.script("true")
    columns = []
    with host.loop("probe-1", host.repository("loop-probe-1")):
        for repo in repos:
            for number_ in range(host.count + 1):
                if number_ == 1:  # the first one copies 1,000 files
                    before = usage(host)
                work.commit({"files/0/0": f"job {number_} for {repo}\n"})
                _, _, text = host.timed_push(work, repo)
                if repo == "probe-1":
                    host.wait(job_of(text))
                else:  # its loop has ended when the job after it can be taken
                    host.wait_for_loop(repo)
            host.sh("sleep 1")  # what is cleared away after the end belongs to the job
            after = usage(host)
            columns.append({name: (after[name] - before[name]) / host.count for name in before})
    reference, product = columns
    names = sorted(product, key=lambda name: -product[name])
    lines = [[name, f"{number(reference[name])} ms", f"{number(product[name])} ms"] for name in names]
    total = ["all", *(f"{number(sum(column.values()))} ms" for column in columns)]
    return table(("CPU of one trivial job", "reference", "tinyci"), [*lines, total])


def usage(host: BenchHost) -> dict[str, float]:
    """Return the milliseconds that each party has used since it started."""
    uid, git = (host.sh(f"id -u {user}").strip() for user in ("probe-1", "git"))
    user = f"user.slice/user-{uid}.slice/user@{uid}.service"
    groups = {name: f"$(systemctl show -P ControlGroup '{unit.format(uid=uid)}')" for name, unit in UNITS.items()}
    groups["sshd, git and the hook"] = f"user.slice/user-{git}.slice"
    groups["the user's manager"] = f"{user}/init.scope"
    groups["the user's dbus-daemon"] = f"{user}/session.slice/dbus.service"
    groups["the stage: Python, git, the script"] = user
    values = host.cpu(groups)
    values["the stage: Python, git, the script"] -= values["the user's manager"] + values["the user's dbus-daemon"]
    return values
