"""The process that computes, seen from the one that speaks with clients: started, asked, started again, ended."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from dataclasses import dataclass, fields
from typing import Any

from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.serving import wire
from alexnet.serving.limits import Limits

WORKER = "alexnet.serving.worker"
SLOWEST = 30.0  # seconds between two attempts to start it again
ERRORS: dict[int, type[AlexNetError]] = {2: UsageError, 3: DataError}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelCard:
    """What is told to clients of a model."""

    network: str
    class_names: list[str]  # K
    input_size: int  # pixels
    fit: str
    calibrated: bool
    unknown: bool  # whether it gives a score for 'none of these'
    views: dict[str, str | None]  # numbers of views -> why it does not take them
    coverage: str | None  # why it gives no sets of classes


class NotAnswered(Exception):
    """There is no answer, for a reason that will pass."""


class Refused(Exception):
    """The image cannot be read, with the reason."""


class Failed(Exception):
    """The model could not answer, with the reason."""


class Process:
    """A model in a process of its own."""

    card: ModelCard

    def __init__(self, model: str, device: str, limits: Limits) -> None:
        self._order = {"model": model, "device": device, "max_pixels": limits.max_pixels}
        self._timeout = limits.timeout
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[str, bytes]]] = {}
        self._owed: set[int] = set()  # numbers that the process has not answered
        self._child: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.ready, self.restarts, self._stopping = False, 0, False

    async def start(self) -> None:
        """Start it and open the model; the error of that, as `alexnet.inference.loading.load` raises it."""
        await self._begin()
        self._keeper = asyncio.create_task(self._keep())

    async def ask(self, asked: dict[str, Any], body: bytes) -> bytes:
        """The answer to an image as JSON.

        asked: top, views, coverage, whole. Refused for an image that cannot be read, NotAnswered where none came in
        time or the process ended, Failed where the model gave none.
        """
        if not self.ready or self._child is None or self._child.stdin is None:
            raise NotAnswered("the model is being opened")
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._owed.add(number)
        try:
            async with asyncio.timeout(self._timeout):
                self._child.stdin.writelines(wire.pack({"number": number, "seconds": self._timeout, **asked}, body))
                await self._child.stdin.drain()
                kind, told = await future
        except TimeoutError:
            asyncio.get_running_loop().call_later(2 * self._timeout, self._end_if_owed, number, self._child)
            raise NotAnswered(f"no answer was found in {self._timeout:g} seconds") from None
        except (BrokenPipeError, ConnectionResetError):
            raise NotAnswered("the process that answers has ended and is started again") from None
        finally:
            self._waiting.pop(number, None)
        return _answer(kind, told)

    async def stop(self) -> None:
        """End the process; it answers what it was given first."""
        self._stopping, self.ready = True, False
        child = self._child
        if child is not None and child.returncode is None:
            if child.stdin is not None:
                child.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await child.wait()
            await _kill(child)
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._child.pid if self._child else None

    async def _begin(self) -> None:
        """Start it and wait for the model's card."""
        command = (sys.executable, "-P", "-m", WORKER)
        apart = os.name == "posix"  # Ctrl-C is for this process alone
        pipe = asyncio.subprocess.PIPE
        self._child = await _started(*command, stdin=pipe, stdout=pipe, start_new_session=apart)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.writelines(wire.pack(self._order))
            told = (await wire.receive(self._child.stdout)).told
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
            code = await self._child.wait()
            raise AlexNetError(f"the process that opens {self._order['model']} ended with code {code}") from None
        except asyncio.CancelledError:
            await _kill(self._child)
            raise
        if "failed" in told:
            await self._child.wait()
            raise ERRORS.get(told["code"], AlexNetError)(told["failed"])
        self.card = ModelCard(**{field.name: told[field.name] for field in fields(ModelCard)})
        self.ready = True

    async def _keep(self) -> None:
        """Hand answers on; start the process again whenever it ends."""
        while True:
            await self._listen()
            self.ready = False
            for future in self._waiting.values():
                if not future.done():
                    future.set_result(("ended", b""))
            self._owed.clear()
            if self._stopping:
                return
            await self._begin_again()

    async def _listen(self) -> None:
        """Hand on the answers of the process until it ends."""
        assert self._child is not None
        assert self._child.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            while True:
                told, body = await wire.receive(self._child.stdout)
                self._owed.discard(told["number"])
                future = self._waiting.get(told["number"])
                if future is not None and not future.done():
                    future.set_result((told["kind"], body or told.get("detail", "").encode()))
        await _kill(self._child)

    async def _begin_again(self) -> None:
        """Start it again, at once and then after longer and longer pauses."""
        code, pause = self._child.returncode if self._child else None, 0.0
        while not self._stopping:
            self.restarts += 1
            logger.warning("the process that answers ended with code %s and is started again", code)
            await asyncio.sleep(pause)
            try:
                return await self._begin()
            except (AlexNetError, OSError) as error:
                logger.warning("%s", error)
                code, pause = self._child.returncode if self._child else None, min(SLOWEST, 2 * pause + 1)
        return None

    def _end_if_owed(self, number: int, child: asyncio.subprocess.Process) -> None:
        """End a process that has not even said that an image was too late: a decoder hangs."""
        if number in self._owed and child is self._child and child.returncode is None:
            logger.warning("the process that answers hangs and is ended")
            child.kill()


async def _started(*command: str, **how: Any) -> asyncio.subprocess.Process:
    """Start a process; one that is being started when this is cancelled is waited for and ended, not left behind."""
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*command, **how))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _kill(await starting)
        raise


def _answer(kind: str, told: bytes) -> bytes:
    """The answer, or the error that the process told."""
    if kind == "answer":
        return told
    if kind == "image":
        raise Refused(told.decode())
    if kind == "failed":
        raise Failed(told.decode())
    reason = "no answer was found in time" if kind == "late" else "the process that answers has ended"
    raise NotAnswered(reason)


async def _kill(child: asyncio.subprocess.Process) -> None:
    """End a process that does not end by itself within a second; one that has ended must not be signalled."""
    try:
        async with asyncio.timeout(1):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def whole_answer(told: bytes) -> dict[str, Any]:
    """An answer read from JSON."""
    found: dict[str, Any] = json.loads(told)
    return found
