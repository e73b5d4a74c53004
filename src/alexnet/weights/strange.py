"""Files that are given as a model and are none: what they are, by their first bytes, and what to give instead."""

from pathlib import Path

from alexnet.data.images.kinds import IMAGE_SUFFIXES, name_by
from alexnet.errors import WeightsError

MODELS = "a run's folder, a weights file, a name of `alexnet weights list` or hub:OWNER/NAME"
"""What a MODEL is, for messages."""


def no_model(path: Path, start: bytes, size: int) -> WeightsError:
    """The error for a file that is no model. start: its first bytes, `SNIFFED` at most. size: all of its bytes."""
    if start[:1] == b"\x80":
        return WeightsError(
            f"{path} is a pickle, which can run any program when it is read; read are .safetensors files, and those of"
            " other programs that docs/weights.md lists"
        )
    if start[:4] == b"PK\x03\x04":  # torch.save's files are zips, too
        return WeightsError(
            f"{path} is a zip file and none of those that are read: torch.save's, of a state_dict() alone, and .keras"
        )
    if start.startswith(b"version https://git-lfs"):
        return WeightsError(f"{path} is the pointer of Git LFS and not the file; get the file by: git lfs pull")
    if path.name.endswith(".safetensors.index.json"):
        return WeightsError(
            f"{path} lists the parts of one model; alexnet reads one file: join them, as save_pretrained does with"
            " max_shard_size='100GB'"
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
