"""ExecuTorch: one .pte file for phones and small boards, computed by XNNPACK in float32.

Its input `image` is the stored square, uint8 (S, S, 3), RGB: shapes are fixed when a program is made, and what resizes
photos is the device's own. The centre view, normalising, the network and the answers are in the program. Outputs in
their order: probabilities, float32 (K,), and `unknown`, float32 (), where the card tells 'none of these'. The method
`alexnet_card` gives our card as JSON, behind a mark.
"""

import json
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.data.form import Form, fitted
from alexnet.data.images import Pixels
from alexnet.data.places import _weights, places
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError, WeightsError
from alexnet.export.formats import Order
from alexnet.export.network import applied
from alexnet.inference.runtime import Engine, ExecuTorch, hushed
from alexnet.weights.calibration import LEAST_NORM, Calibration, Place
from alexnet.weights.card import Card
from alexnet.weights.exported import PTE_CARD, export_card

CARD_METHOD = "alexnet_card"


class Program(nn.Module):
    """A network with its calibration: uint8 (S, S, 3) -> probabilities (K,), and `unknown` ()."""

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        preprocessing = Preprocessing.from_json(card.preprocessing)
        self.calibration = card.calibration or Calibration()
        self.network = network.to(memory_format=torch.contiguous_format)
        self.side, self.size = preprocessing.store_size, preprocessing.input_size
        self.first, _ = places(1, preprocessing.resize, self.size)[0]
        self.mean, self.std = (torch.tensor(each).view(3, 1, 1) for each in (preprocessing.mean, preprocessing.std))
        self.line: Tensor | None = None
        if preprocessing.resize != self.side:
            self.line = torch.from_numpy(_weights(self.first, preprocessing.resize, self.size, self.side))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 (S, S, 3)."""
        logits, maps = self.network(self.view(image.permute(2, 0, 1).contiguous().float()), return_maps=True)
        chances = (logits / self.calibration.temperature).softmax(1)
        known = self.calibration.known
        if known is None:
            return (chances[0],)
        score = known.doubt * (1 - chances.amax(1))
        for place in known.places:
            score = score + distance(place, maps[place.layer])
        return chances[0], (score / known.threshold)[0]

    def view(self, stored: Tensor) -> Tensor:
        """float32 (3, S, S) -> float32 (1, 3, I, I): what `Preprocessing.views` shows of it, normalised."""
        if self.line is None:
            line = slice(self.first, self.first + self.size)
            shown = stored[:, line, line]
        else:
            shown = self.line @ stored @ self.line.T
        return ((shown - self.mean) / self.std)[None]


def distance(place: Place, maps: Tensor) -> Tensor:
    """`Place.distance` of a layer's outputs: (N, D) or (N, D, H, W) -> (N,)."""
    mean, projection, centres = (torch.from_numpy(each) for each in (place.mean, place.projection, place.centres))
    roots = (maps.mean((2, 3)) if maps.ndim == 4 else maps).clamp(min=0).sqrt()
    unit = roots / roots.square().sum(1, keepdim=True).sqrt().clamp(min=LEAST_NORM)
    u = (unit - mean) @ projection
    squares = u.square().sum(1, keepdim=True) - 2 * u @ centres.T + centres.square().sum(1)
    return squares.amin(1).clamp(min=0).sqrt()


def write(order: Order, path: Path) -> None:
    """Write the one file; UsageError without the package executorch."""
    try:
        with hushed():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise UsageError(
            "writing for ExecuTorch needs the package executorch; install it: pip install executorch"
        ) from error
    card = order.classifier.card
    known = card.calibration.known if card.calibration else None
    program = Program(applied(order.classifier.network, known), card).eval()
    image = torch.zeros(program.side, program.side, 3, dtype=torch.uint8)
    told = {CARD_METHOD: PTE_CARD.decode() + json.dumps(card.to_json(), sort_keys=True)}
    with hushed(), torch.no_grad():
        exported = torch.export.export(program, (image,))
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()], constant_methods=told)
        path.write_bytes(lowered.to_executorch().buffer)


def engine(path: Path) -> Engine:
    """The file in ExecuTorch's runtime, with whatever makes stored squares of photos before it."""
    return _Fitting(path)


class _Fitting:
    """A program for photos of any size, each made the stored square that it takes."""

    def __init__(self, path: Path) -> None:
        card = export_card(path)
        if card is None:
            raise WeightsError(f"{path} has lost its card; export the model anew")
        self.form: Form = Preprocessing.from_json(card.preprocessing).form
        self.program = ExecuTorch(path)
        self.input, self.outputs = self.program.input, self.program.outputs

    def __call__(self, given: Pixels) -> list[NDArray[Any]]:
        """uint8 (H, W, 3) -> the outputs."""
        return self.program(fitted(given, self.form.size, self.form.fit))
