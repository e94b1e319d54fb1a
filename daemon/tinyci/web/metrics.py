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


class Figures(Collector):
    """The figures of one answer. None for `index` or `counts` means that Redis did not answer."""

    def __init__(self, index: Sequence[IndexedJob] | None, counts: Counts | None, followers: int, readers: int) -> None:
        self._jobs = None if index is None else [entry.job for entry in index if is_name(entry.job.repo)]
        self._counts = counts
        self._followers = followers
        self._readers = readers

    def text(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """All figures, for the library's registry."""
        info = GaugeMetricFamily("tinyci_web_info", "The version of tinyci-web.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield _gauge("tinyci_redis_up", "Whether Redis answers.", self._jobs is not None)
        yield _gauge("tinyci_web_followers", "Who follows jobs, or lists of them, right now.", self._followers)
        yield _gauge("tinyci_web_readers", "What is followed: each is read from Redis once.", self._readers)
        if self._counts:
            if self._counts.queue_length is not None:
                yield _gauge("tinyci_queue_jobs", "Jobs that the daemon has not taken.", self._counts.queue_length)
            if self._counts.accepted_count is not None:
                yield _gauge(
                    "tinyci_accepted_jobs", "Jobs that the daemon has not finished.", self._counts.accepted_count
                )
            yield _gauge("tinyci_paused", "Whether nothing new begins.", self._counts.is_paused)
        if self._jobs is not None:
            yield _count_by_state(self._jobs)
            yield from _last_deploys(self._jobs)
            yield _oldest_live(self._jobs)


def _count_by_state(jobs: Sequence[JobView]) -> Metric:
    counts = GaugeMetricFamily("tinyci_jobs", "Kept jobs.", labels=["repo", "state"])
    for (repo, state), count in sorted(Counter((job.repo, job.known_state) for job in jobs).items()):
        counts.add_metric([repo, state], count)
    return counts


def _last_deploys(jobs: Sequence[JobView]) -> Iterable[Metric]:
    """Figures of the last deploy of each ref. `jobs` is newest first."""
    last: dict[tuple[str, str], JobView] = {}
    last_good: dict[tuple[str, str], JobView] = {}
    for job in jobs:
        if job.is_conclusive and job.ref.startswith("refs/"):
            last.setdefault((job.repo, job.ref), job)
            if job.is_good:
                last_good.setdefault((job.repo, job.ref), job)
    labels = ["repo", "ref"]
    success = GaugeMetricFamily("tinyci_last_job_success", "Whether the last deploy succeeded.", labels=labels)
    end = GaugeMetricFamily("tinyci_last_job_finished_timestamp_seconds", "When the last deploy ended.", labels=labels)
    length = GaugeMetricFamily("tinyci_last_job_duration_seconds", "How long the last deploy took.", labels=labels)
    good_end = GaugeMetricFamily(
        "tinyci_last_success_timestamp_seconds", "When the last successful deploy ended.", labels=labels
    )
    for key, job in sorted(last.items()):
        success.add_metric(key, job.is_good)
        if job.finished is not None:
            end.add_metric(key, job.finished)
        if job.took is not None:
            length.add_metric(key, job.took)
    for key, job in sorted(last_good.items()):
        if job.finished is not None:
            good_end.add_metric(key, job.finished)
    return success, end, length, good_end


def _oldest_live(jobs: Sequence[JobView]) -> Metric:
    """The begin of the oldest live job of each repo. `jobs` is newest first, so that the oldest is written last."""
    gauge = GaugeMetricFamily(
        "tinyci_job_created_timestamp_seconds", "When the oldest job was made that has not ended.", labels=["repo"]
    )
    oldest = {job.repo: job.created for job in jobs if job.is_live and job.created is not None}
    for repo, creation in sorted(oldest.items()):
        gauge.add_metric([repo], creation)
    return gauge


def _gauge(name: str, sentence: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, sentence, value=float(value))
