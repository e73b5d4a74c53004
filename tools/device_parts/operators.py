"""The native operators of the processor, which prepare a GPU's batches: compiled where they are missing."""

import time
import warnings

from alexnet.ops import native
from alexnet.ops.native.builder import REASON, build
from device_parts.record import Record


def run(record: Record) -> None:
    """Carried ones are taken as they are."""
    began, how = time.monotonic(), "carried"
    if not loads():
        how = "compiled here"
        if build(native.FOLDER) is None:
            reason = (native.FOLDER / REASON).read_text(encoding="utf-8").strip()
            record.missing("native operators", "", f"plain torch prepares the batches instead: {reason}")
            return
    native.library.cache_clear()
    with native.using("auto"):  # this process may have been told to do without, as there were none when it began
        record.machine["native"] = native.instruction_set()
    record.add("native operators", "s", time.monotonic() - began, note=f"{how}, {record.machine['native']}")


def loads() -> bool:
    """Whether there is a library that was built from these sources."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is none is no surprise here
        return native.library() is not None
