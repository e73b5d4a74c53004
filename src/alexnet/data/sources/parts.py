"""Names that people give to the parts of their data."""

import re
import unicodedata

# Accepted names of the parts, without the words that say no more than "some data"; see `part_named`.
PART_NAMES = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout", "ts"), "test"),
}
UNLABELLED = frozenset(["pred", "predict", "prediction", "unlabelled", "unlabeled"])  # images to name, of no class
ACCEPTED = "train, val or test"

_FILLERS = frozenset(
    [
        "set",
        "sets",
        "data",
        "dataset",
        "split",
        "part",
        "folder",
        "images",
        "image",
        "imgs",
        "img",
        "photos",
        "seg",
        "labels",
        "list",
    ]
)
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GLUED = re.compile(r"(?<=...)(dataset|data|set|split|images|imgs|folder)$")  # trainset, TESTDATA
_YEAR = re.compile(r"(19|20)\d\d")  # train2017


def part_named(name: str) -> str:
    """The part that a folder's name or a cell means: "train", "val" or "test"; "" if none.

    >>> [part_named(name) for name in ("Training", "seg_train", "TrainingData", "val2017", "hold-out", "Trainer")]
    ['train', 'train', 'train', 'val', 'test', '']
    """
    return PART_NAMES.get(_core(name), "")


def is_unlabelled(name: str) -> bool:
    """Whether a folder of that name holds images to be named by a trained network."""
    return _core(name) in UNLABELLED


def _core(name: str) -> str:
    """The name in lower case without separators, years and words such as "data" and "set"."""
    words = _WORD.findall(_CAMEL.sub(" ", unicodedata.normalize("NFC", name)))
    left = [word.casefold() for word in words if word.casefold() not in _FILLERS and not _YEAR.fullmatch(word)]
    return _GLUED.sub("", "".join(left))
