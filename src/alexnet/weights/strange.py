"""Files that are given as a model and are none: what they are, by their first bytes, and what to give instead."""

from pathlib import Path

from alexnet.data.images.kinds import IMAGE_SUFFIXES, name_by
from alexnet.errors import WeightsError

MODELS = "a run's folder, a weights file, a name of `alexnet weights list` or hub:OWNER/NAME"
"""What a MODEL is, for messages."""


def no_model(path: Path, start: bytes, size: int) -> WeightsError:
    """The error for a file that is no model. start: its first bytes, `SNIFFED` at most. size: all of its bytes."""
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":  # torch.save writes a zip of pickles, before 1.6 a bare one
        return WeightsError(
            f"{path} is a pickle (a .pt, .pth or .bin file), which can run any program when it is read;"
            " alexnet reads .safetensors files only"
        )
    if start[:9].lower() == b"<!doctype":
        return WeightsError(f"{path} is a page; open it in a browser, or give the run that it was made from")
    if (picture := name_by(start)) or path.suffix.lower() in IMAGE_SUFFIXES:
        kind = f" ({picture})" if picture else ""
        return WeightsError(f"{path} is a picture{kind} and no model; where a MODEL is wanted give {MODELS}")
    found = f"{size} bytes, beginning with {start[:8]!r}" if size else "it is empty"
    if path.suffix == ".safetensors":
        return WeightsError(f"{path} is no .safetensors file ({found}); take a fresh copy")
    return WeightsError(f"{path} is no model ({found}); give {MODELS}")
