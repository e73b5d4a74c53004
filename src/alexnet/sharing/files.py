"""The four files of a published model: weights, two records that other programs read, and the model's page."""

from pathlib import Path
from typing import Any

from alexnet import __version__
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError
from alexnet.files import whole_file, write_json
from alexnet.sharing.local import told_in
from alexnet.sharing.material import Material
from alexnet.sharing.readme import readme
from alexnet.weights.card import Card, write
from alexnet.weights.hub import FILE

CONFIG, PREPROCESSOR, PAGE = "config.json", "preprocessor_config.json", "README.md"
FILES = (FILE, CONFIG, PREPROCESSOR, PAGE)
"""All that is ever published: no photo, no picture of photos, no checkpoint, no list of files."""


def write_files(folder: Path, found: Material, repository: str, licence: str) -> None:
    """Write the files into an empty folder and check that none of them names a place on this machine.

    repository: "owner/name". licence: as the hub calls it. AlexNetError where a file would tell a local path.
    """
    write(folder / FILE, found.stored.tensors, found.card)
    write_json(folder / CONFIG, config(found.card, found.version))
    write_json(folder / PREPROCESSOR, preprocessor(Preprocessing.from_json(found.card.preprocessing)))
    with whole_file(folder / PAGE) as file:
        file.write(readme(found, repository, licence))
    for name in FILES:
        if path := told_in(folder / name, found.local):
            raise AlexNetError(
                f"{name} would tell {path!r}, a place on this machine; nothing was sent: take it out of the names of "
                "the classes, or publish from another folder"
            )


def config(card: Card, version: str | None) -> dict[str, Any]:
    """config.json: the network and its classes by the names that programs around a hub use, and by ours."""
    labels = dict(enumerate(card.class_names))
    return {
        "model_type": "alexnet",
        "architectures": [card.network],
        "alexnet_version": version or __version__,
        "num_classes": card.num_classes,
        "input_size": card.input_size,
        "differences": card.differences,
        "id2label": {str(number): label for number, label in labels.items()},
        "label2id": {label: number for number, label in labels.items()},
    }


def preprocessor(steps: Preprocessing) -> dict[str, Any]:
    """preprocessor_config.json: the way from a photo to the network's input.

    Under "alexnet" it is exact. The other members are those of Hugging Face's image processors, which resize once where
    `alexnet` first makes a square of `store_size`; "size" is left out where they have no word for the fit.
    """
    size = {"crop": {"shortest_edge": steps.resize}, "warp": {"height": steps.resize, "width": steps.resize}}
    resized = {"do_resize": True, "size": size[steps.fit], "resample": 2} if steps.fit in size else {}
    return {
        **resized,
        "do_center_crop": True,
        "crop_size": {"height": steps.input_size, "width": steps.input_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in steps.mean],
        "image_std": [value / 255 for value in steps.std],
        "alexnet": steps.to_json(),
    }
