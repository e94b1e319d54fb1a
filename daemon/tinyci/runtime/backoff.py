"""Waiting between tries, for parties that send no event when they are back."""

import asyncio


class Backoff:
    """Delays that grow up to the last one, in seconds."""

    def __init__(self, *delays: float) -> None:
        self._delays = delays
        self._tries = 0

    async def wait(self) -> None:
        """Sleep before the next try."""
        delay = self._delays[min(self._tries, len(self._delays) - 1)]
        self._tries += 1
        await asyncio.sleep(delay)

    def reset(self) -> None:
        """Begin with the first delay again, after a success."""
        self._tries = 0
