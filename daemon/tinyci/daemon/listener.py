"""The events of the daemon, for what tells people of them."""

from collections.abc import Mapping

from tinyci.store.listener import StoreListener


class Listener(StoreListener):
    """Hears of jobs besides, and does nothing; subclasses override what concerns them."""

    def lacks_fields(self, job_id: str) -> bool:
        """True for a job of which job_changed() needs all fields, since nothing is kept of the earlier ones."""
        return False

    def job_changed(self, job_id: str, repo: str, changes: Mapping[str, str]) -> None:
        """Fields of a job were written; `changes` has all of them when the daemon has just accepted the job."""

    def queue_changed(self) -> None:
        """Jobs were added to the queue or taken from it."""
