"""What a server accepts: how large, how many, how long."""

import re
from dataclasses import dataclass

from alexnet.errors import UsageError

UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Limits:
    """The limits of a server; UsageError for one that nothing could pass."""

    max_bytes: int = 10_000_000  # of a request's body
    max_pixels: int = 50_000_000  # of an image, by its header
    queue: int = 32  # requests that are answered or wait for it
    timeout: float = 10.0  # seconds that a body may take to arrive, and an answer to be found

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"{name} is {value:g}; give more than 0")


def amount(name: str, text: str) -> int:
    """ "10M" -> 10,000,000; "500k", "1.5G" and plain numbers as well. UsageError for anything else.

    name: the option, for the message.
    """
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([kKMG]?)", text)
    if not found:
        raise UsageError(f"{name} is {text!r}; give a number such as 500k, 10M or 1G")
    return int(float(found[1]) * UNITS[found[2]])
