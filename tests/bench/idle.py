"""Rows about a host on which nothing happens."""

from collections.abc import Iterator

from benchhost import BenchHost
from measurement import Row, Sample

SECONDS = 60
SERVICES = {"tinyci": 32.0, "tinyci-notify": 30.0}


def idle(host: BenchHost) -> Iterator[Row]:
    """Measure what the services hold and how often they wake up, after a start and one job."""
    host.sh("systemctl restart tinyci tinyci-notify")
    host.work("probe-1").script("true")
    host.deploy(host.work("probe-1"))
    host.sh("sleep 5")  # what is cleared away after the end
    before = {service: switches(host, service) for service in SERVICES}
    host.sh(f"sleep {SECONDS}", limit=SECONDS + 30)
    for service, memory in SERVICES.items():
        wakeups = (switches(host, service) - before[service]) / SECONDS
        yield Row(f"{service}, idle: memory", None, Sample((host.resident(service),), "MB"), limit=memory)
        yield Row(f"{service}, idle: wakeups", None, Sample((wakeups,), "/s"), limit=0.1)


def switches(host: BenchHost, service: str) -> int:
    """Return how often the threads of a service have waited; 0 if none runs."""
    text = host.sh(f"cat /proc/$(systemctl show -P MainPID {service})/task/*/status 2>/dev/null || true")
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches"))
