"""Pictures of one set that stand in another are named, whatever their files are called."""

import numpy as np
from PIL import Image

from alexnet.data.against import Pair, overlap
from alexnet.data.alike import ALIKE, RESEMBLING
from alexnet.data.sources import open_source


def picture(seed):
    """Patches of random colours, 180 x 240 pixels."""
    small = np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((240, 180), Image.Resampling.BICUBIC)


def folder(root, pictures):
    for number, (name, image) in enumerate(pictures.items()):
        place = root / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / name)
    return str(root)


def test_equal_and_resaved_pictures_are_named_and_others_are_not(tmp_path):
    mine = {f"{seed}.png": picture(seed) for seed in range(6)}
    resaved = {"new.jpg": picture(1).resize((160, 120)), "copy.png": picture(4), "other.png": picture(9)}
    resaved["trimmed.png"] = picture(2).crop((2, 2, 239, 180)).resize((200, 200))
    found = overlap(open_source(folder(tmp_path / "mine", mine)), open_source(folder(tmp_path / "theirs", resaved)))
    assert (found.images, found.others, found.equal) == (6, 4, 1)
    equal, alike, resembling = found.pairs
    assert equal == Pair("a/4.png", "b/copy.png", True, 0)
    assert alike == Pair("b/1.png", "a/new.jpg", False, alike.differ)
    assert alike.differ <= ALIKE
    assert resembling == Pair("a/2.png", "b/trimmed.png", False, resembling.differ)
    assert ALIKE < resembling.differ <= RESEMBLING
    told = found.to_json()
    assert (told["equal"], told["alike"], told["resembling"]) == (1, 1, 1)
