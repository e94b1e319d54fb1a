"""The errors of a connection to a message bus."""


class BusError(Exception):
    """An error that the peer answered with; `name` is its D-Bus name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class BusGoneError(Exception):
    """No connection, or no answer in time: the call may or may not have been carried out."""
