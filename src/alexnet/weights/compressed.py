"""A weights file of compressed weights: written by `alexnet compress`, read by `alexnet.weights.card` as any other."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from alexnet.errors import WeightsError
from alexnet.files import whole_file
from alexnet.weights.card import COMPRESSED, KEY, Card, compressed_checksum, has_card, verified
from alexnet.weights.coded import Coded, codes_in, half_rounded, packed


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], coded: Mapping[str, Coded], card: Card) -> None:
    """Write a network's tensors, as `tensors_of` gives them, and their card; the file appears whole or not at all.

    The tensors in `coded` are stored by their codes; all others, and the card's calibration, in half precision.
    """
    calibration = card.calibration.arrays() if card.calibration else {}
    arrays = {name: half_rounded(array) for name, array in calibration.items()}
    card = Card.from_json(card.to_json(), arrays)
    directory, stored = packed({**tensors, **{name: torch.tensor(array) for name, array in arrays.items()}}, coded)
    entry = {"format": COMPRESSED, "card": card.to_json(), "compressed": directory}
    entry["sha256"] = compressed_checksum(card, directory, stored)
    with whole_file(Path(path), "wb") as file:
        file.write(to_bytes(stored, metadata={KEY: json.dumps(entry, sort_keys=True)}))


def codes_of(path: Path) -> dict[str, Coded]:
    """The weights in codes that a compressed file holds, by name; empty for other files. WeightsError as for `read`."""
    if not has_card(path):
        return {}
    found = verified(path)
    if found.directory is None:
        return {}
    try:
        return codes_in(found.directory, found.tensors)
    except WeightsError as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
