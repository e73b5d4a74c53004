"""Everything that can go wrong for a reason a user can act on.

AlexNetError            1  the run failed
├── UsageError          2  a wrong option, name or value
├── DataError           3  the data is not there or cannot be used
│   └── ImageError      3  one image cannot be used
│       └── TooLarge    3  it has more pixels than are decoded
├── WeightsError        3  a model is not there, is none, is damaged, or belongs to another network
├── FileError           3  a run's folder, or a file that an option names, is not there or cannot be used
├── Diverged            1  the loss of a training run is not finite
├── ElsewhereFailed         of several processes the first could not begin; its own exit code
└── Interrupted       130  Ctrl-C or SIGTERM, after saving

2 says that the command line is wrong, whatever lies on the disk; 3 that what it names is not there, or cannot be used.
The message is one line: the value received, what is accepted, what to do next.
The command line prints it without a traceback and leaves with the class's exit code.
"""

import difflib
from collections.abc import Iterable


class AlexNetError(Exception):
    """The run failed."""

    exit_code = 1


class UsageError(AlexNetError, ValueError):
    """A wrong option, name or value."""

    exit_code = 2


class DataError(AlexNetError):
    """The data is not there or cannot be used."""

    exit_code = 3


class ImageError(DataError):
    """One image cannot be used; the message does not name the file, whoever read it does."""


class TooLarge(ImageError):
    """An image has more pixels by its header than are decoded."""


class Diverged(AlexNetError):
    """The loss of a training run is not finite: usually its learning rate is too high."""


class WeightsError(AlexNetError):
    """A model, a weights file or a checkpoint is not there, is none, is damaged, or belongs to another network."""

    exit_code = 3


class FileError(AlexNetError):
    """A run's folder, or a file that an option names, is not there, is something else, or is damaged."""

    exit_code = 3


class ElsewhereFailed(AlexNetError):
    """Of several processes the first could not begin, and has said why; raised in the others, with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__("the first process could not begin the run")
        self.exit_code = code


class Interrupted(AlexNetError):
    """Ctrl-C or SIGTERM arrived; everything was saved before this was raised."""

    exit_code = 130


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A UsageError for a name that is not known, with the nearest one that is."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known: {', '.join(choices)}")
