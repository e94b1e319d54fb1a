"""Figures for Prometheus, taken when it asks."""

from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tinyci import __version__
from tinyci.model.repo import is_name
from tinyci.store.viewer import Counts
from tinyci.web.jobcache import IndexedJob
from tinyci.web.jobview import JobView
from tinyci.web.repostatus import CONCLUSIVE


class Figures(Collector):
    """One answer. Without `kept` Redis did not answer, and nothing of it is told."""

    def __init__(self, kept: Sequence[IndexedJob] | None, counts: Counts | None, followers: int, readers: int) -> None:
        self._rows = None if kept is None else [each.row for each in kept if is_name(each.row.repo)]
        self._counts = counts
        self._followers = followers
        self._readers = readers

    def text(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """As the library asks of a collector."""
        info = GaugeMetricFamily("tinyci_web_info", "The version of tinyci-web.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield _one("tinyci_redis_up", "Whether Redis answers.", self._rows is not None)
        yield _one("tinyci_web_followers", "Who follows jobs, or lists of them, right now.", self._followers)
        yield _one("tinyci_web_readers", "What is followed: each is read from Redis once.", self._readers)
        if self._counts:
            if self._counts.queue_length is not None:
                yield _one("tinyci_queue_jobs", "Jobs that the daemon has not taken.", self._counts.queue_length)
            if self._counts.accepted_count is not None:
                yield _one(
                    "tinyci_accepted_jobs", "Jobs that the daemon has not finished.", self._counts.accepted_count
                )
            yield _one("tinyci_paused", "Whether nothing new begins.", self._counts.is_paused)
        if self._rows is not None:
            yield from _of_jobs(self._rows)


def _of_jobs(rows: Sequence[JobView]) -> Iterable[Metric]:
    """`rows` is newest first."""
    jobs = GaugeMetricFamily("tinyci_jobs", "Kept jobs.", labels=["repo", "state"])
    for (repo, state), count in sorted(Counter((row.repo, row.kind) for row in rows).items()):
        jobs.add_metric([repo, state], count)
    yield jobs
    newest: dict[tuple[str, str], JobView] = {}
    good: dict[tuple[str, str], JobView] = {}
    for row in rows:
        if row.state in CONCLUSIVE and row.ref.startswith("refs/"):
            newest.setdefault((row.repo, row.ref), row)
            if row.state == "succeeded":
                good.setdefault((row.repo, row.ref), row)
    labels = ["repo", "ref"]
    success = GaugeMetricFamily("tinyci_last_job_success", "Whether the last deploy succeeded.", labels=labels)
    finished = GaugeMetricFamily(
        "tinyci_last_job_finished_timestamp_seconds", "When the last deploy ended.", labels=labels
    )
    length = GaugeMetricFamily("tinyci_last_job_duration_seconds", "How long the last deploy took.", labels=labels)
    since = GaugeMetricFamily(
        "tinyci_last_success_timestamp_seconds", "When the last successful deploy ended.", labels=labels
    )
    for key, row in sorted(newest.items()):
        success.add_metric(key, row.state == "succeeded")
        if row.finished is not None:
            finished.add_metric(key, row.finished)
        if row.took is not None:
            length.add_metric(key, row.took)
    for key, row in sorted(good.items()):
        if row.finished is not None:
            since.add_metric(key, row.finished)
    yield from (success, finished, length, since)
    running = GaugeMetricFamily(
        "tinyci_job_created_timestamp_seconds", "When the oldest job was made that has not ended.", labels=["repo"]
    )
    oldest = {row.repo: row.created for row in rows if row.is_live and row.created is not None}
    for repo, created in sorted(oldest.items()):
        running.add_metric([repo], created)
    yield running


def _one(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value))
