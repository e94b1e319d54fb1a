"""The events of a StoreWriter, for what tells people of them."""


class StoreListener:
    """Hears of Redis, logs and events, and does nothing; subclasses override what concerns them."""

    def redis_away(self, error: str) -> None:
        """Redis does not answer any more."""

    def redis_back(self) -> None:
        """Redis answers again."""

    def redis_full(self) -> None:
        """Redis has no memory for what is written (maxmemory)."""

    def log_grew(self, job_id: str) -> None:
        """Lines were added to the log of a job."""

    def event_added(self) -> None:
        """An entry was added to `tinyci:events`."""
