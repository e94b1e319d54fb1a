"""Facts for the tests of doctor, and a look at a finding."""

from tinyci.doctor.finding import Finding
from tinyci.doctor.system import CommandResult
from tinyci.model import repo
from tinyci.model.repo import Repo

WELL = CommandResult(0, "", "")
ACTIVE = {
    "LoadState": "loaded",
    "LoadError": "",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "StatusText": "",
    "NeedDaemonReload": "no",
    "FragmentPath": "/etc/systemd/system/x.service",
    "DropInPaths": "",
    "NRestarts": "0",
    "TimeoutStartUSec": "6h",
    "LogRateLimitIntervalUSec": "1s",
    "LogRateLimitBurst": "100000000",
}


def some_repo(**keys: object) -> Repo:
    text = 'repository = "/srv/git/web.git"\nuser = "web"\nunits = ["web.service"]\n'
    return repo.parse("web.toml", text)._replace(**keys)


def verdict(finding: Finding, *words: str) -> str:
    for word in words:
        assert word in finding.sentence, finding
    assert "\n" not in finding.mend
    return finding.verdict.value
