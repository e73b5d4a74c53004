"""huggingface_hub in use: imported when it is first needed, without progress bars, its errors as one line each.

Everything that speaks with a hub goes through here. The hub is huggingface.co, or the address in HF_ENDPOINT; the token
is that of HF_TOKEN or of `hf auth login`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from alexnet.errors import AlexNetError, UsageError

LONGEST = 160  # letters of a hub's own message that are passed on
BUSY = 429  # HTTP status: too many requests; as with those from 500 on, the same may work later


def client() -> ModuleType:
    """The package huggingface_hub; UsageError where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            "a model hub needs the package huggingface_hub; install it: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def endpoint() -> str:
    """The hub's address, without a slash at its end."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or str(constants.ENDPOINT)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of huggingface_hub; afterwards as before. HF_HUB_DISABLE_PROGRESS_BARS, if set, decides."""
    from huggingface_hub import constants

    utils: Any = import_module("huggingface_hub.utils")
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


@contextmanager
def plain_errors(subject: str, kind: type[AlexNetError], writing: bool = False) -> Iterator[None]:
    """Raise what goes wrong with a hub as `kind`, in one line about `subject`, such as "hub:me/flowers"."""
    try:
        yield
    except AlexNetError:
        raise
    except (transport_error(), OSError, ValueError, RuntimeError) as error:
        raise kind(_line(subject, error, writing)) from error


def transport_error() -> type[Exception]:
    """What all failures on the way to a hub derive from: the HTTPError of the package by which huggingface_hub asks."""
    from huggingface_hub.errors import HfHubHTTPError

    found: type[Exception] = HfHubHTTPError.__mro__[1]
    return found


def status_of(error: BaseException) -> int | None:
    """The HTTP status with which a hub refused; None for an error without an answer."""
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None


def is_unreachable(error: BaseException) -> bool:
    """Whether there is no network, or a hub that cannot answer now: what a cache can stand in for."""
    status = status_of(error)
    if status is not None:
        return status == BUSY or status >= 500
    return isinstance(error, (transport_error(), ConnectionError, TimeoutError))


def is_offline(error: BaseException) -> bool:
    """Whether a request was refused here, because HF_HUB_OFFLINE is set."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, OfflineModeIsEnabled)  # a ConnectionError


def reason(error: BaseException) -> str:
    """Why there was no answer, in a few words."""
    status = status_of(error)
    if is_offline(error):
        return "HF_HUB_OFFLINE is set"
    return f"it answers {status}" if status else _first_line(error) or type(error).__name__


def _line(subject: str, error: Exception, writing: bool) -> str:
    """What went wrong and what to do next."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of an upload, which wraps it
    if is_offline(error):
        why = "nothing can be sent, for" if writing else "it is not in the cache, and"
        return f"{subject}: {why} HF_HUB_OFFLINE is set; unset it to reach {endpoint()}"
    if is_unreachable(error):
        return f"{subject}: no answer from {endpoint()} ({reason(error)}); check the network, or try again later"
    status = status_of(error)
    if status is None:
        return f"{subject}: {_first_line(error)}; try again"
    refused = _refused_writing if writing else _refused_reading
    return f"{subject}: {refused(error, status)}{_server_message(error)}"


def _refused_reading(error: Exception, status: int) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"its owner grants access one by one; ask for it on its page at {endpoint()}, then: hf auth login"
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision; give a branch, a tag or a whole commit after the @"
    if isinstance(error, errors.EntryNotFoundError):
        return "it holds no model.safetensors, so alexnet publish did not write it; give another model"
    if status in (401, 403, 404):
        return f"{endpoint()} knows no such model, or it is private and {_whose_token()}; check the name"
    return f"{endpoint()} refuses with status {status}"


def _refused_writing(error: Exception, status: int) -> str:
    if status == 401:
        return f"{endpoint()} does not accept the token (401); log in with one that may write: hf auth login"
    if status == 403:
        return "the token may not write there (403); take one with write access, or an OWNER that is yours"
    if status == 404:
        return f"{endpoint()} knows no such owner or model (404); check OWNER/NAME"
    return f"{endpoint()} refuses with status {status}"


def _whose_token() -> str:
    return "the token that is set may not read it" if client().get_token() else "no token is set (hf auth login)"


def _server_message(error: Exception) -> str:
    message = _shown(getattr(error, "server_message", None))
    return f"; it says: {message}" if message else ""


def _first_line(error: BaseException) -> str:
    return _shown(next((line for line in str(error).splitlines() if line.strip()), ""))


def _shown(text: Any) -> str:
    """One printable line of limited length: a hub is not trusted with a terminal."""
    words = " ".join(str(text or "").split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in words)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
