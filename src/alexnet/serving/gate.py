"""How many requests are worked on at once; the others are refused before their bodies are read.

A request takes a place when its header has arrived, and has it until it is answered. A body that is slow to arrive
steps aside, so that slow clients cannot hold the places of others: as many requests as there are places may stand
there, and those beyond them are given up.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

GRACE = 1.0  # seconds after which a body is slow
PER_SECOND, PATIENCE = 100, 1.0  # refusals sent in a second; seconds that one is held back at most


class Full(Exception):
    """Every place is taken."""


class Gate:
    """The places of a server."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.taken = self.aside = 0
        self._next_refusal = 0.0

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place, until the block ends; Full where there is none."""
        if self.taken >= self._places:
            raise Full
        place = Place(self)
        try:
            yield place
        finally:
            place.leave()

    def aside_is_full(self) -> bool:
        """Whether more slow bodies than places are on their way."""
        return self.aside > self._places

    async def hold_back(self) -> None:
        """Wait before a refusal is sent, so that clients who ask again at once take little of the processor."""
        await asyncio.sleep(self.delay(asyncio.get_running_loop().time()))

    def delay(self, now: float) -> float:
        """Seconds that a refusal is held back that is due now."""
        self._next_refusal = min(max(now, self._next_refusal + 1 / PER_SECOND), now + PATIENCE)
        return self._next_refusal - now


class Place:
    """One request's place."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self._is_aside = gate, False
        gate.taken += 1

    @contextmanager
    def receiving(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """A body arrives in this block. deadline: is brought forward to now where there is no place aside."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(GRACE, self._step_aside, deadline)
        try:
            yield
        finally:
            timer.cancel()
            if self._is_aside:
                self._step_back()

    def leave(self) -> None:
        """Give it to the next."""
        self._gate.taken -= 1

    def _step_aside(self, deadline: asyncio.Timeout) -> None:
        self._is_aside = True
        self._gate.taken -= 1
        self._gate.aside += 1
        if self._gate.aside_is_full():
            deadline.reschedule(asyncio.get_running_loop().time())

    def _step_back(self) -> None:
        self._is_aside = False
        self._gate.taken += 1
        self._gate.aside -= 1
