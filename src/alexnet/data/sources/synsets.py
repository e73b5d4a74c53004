"""The 1,000 classes of the ImageNet challenge of 2012: WordNet synset ids and names, in the order of the ids.

Caffe's and torchvision's networks number their outputs in this order. cuda-convnet's follow ILSVRC2012_ID of the
development kit, another order, which only the kit's own meta.mat tells.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

SYNSET = re.compile(r"n\d{8}")
FILE = "imagenet_synsets.txt"  # lines "<id> <words>"; its first lines, after "#", name the source


@cache
def imagenet_words() -> dict[str, str]:
    """The words of each of the 1,000 synsets, by its id, in the order of the ids: {"n01440764": "tench, ...", ...}."""
    lines = files("alexnet.data.sources").joinpath(FILE).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if not line.startswith("#"))


@cache
def imagenet_names() -> dict[str, str]:
    """The class name of each of the 1,000 synsets, by its id, in the order of the ids: {"n01440764": "tench", ...}."""
    words = imagenet_words()
    return dict(zip(words, synset_names(list(words), words), strict=True))


def usual_name(name: str) -> str:
    """The class name of a synset id of the 1,000, "tench" for "n01440764"; any other name unchanged."""
    return imagenet_names().get(name, name) if SYNSET.fullmatch(name) else name


def synset_names(wnids: Sequence[str], words: dict[str, str]) -> list[str]:
    """The first word of each wnid, followed by the wnid if several share that word; the wnid if it has no words.

    >>> synset_names(["n1", "n2", "n3"], {"n1": "crane", "n2": "crane, derrick"})
    ['crane (n1)', 'crane (n2)', 'n3']
    """
    first = [words.get(wnid, "").split(",")[0].strip() or wnid for wnid in wnids]
    count = Counter(first)
    return [name if count[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(first, wnids, strict=True)]
