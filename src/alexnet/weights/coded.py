"""Weights in few bits as a file stores them: codes of a codebook in a range code, everything else in half precision.

R rows of L weights, a row for each output of a layer: weight = scale of the row * codebook[code]. Han, Mao and Dally
2016, "Deep Compression", arXiv 1510.00149, share weights by such codebooks; scales of rows are ours. This file imports
torch only to hand tensors over; docs/compressing.md describes the format.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.errors import WeightsError
from alexnet.weights.entropy import decode, encode

Floats = NDArray[np.float32]
CODES, HALVES = "codes.", "halves"  # names of the tensors in a file: CODES + the weight's, and one for all the rest
SCALES, CODEBOOK = "/scales", "/codebook"  # after the name of a weight, among the halves
TOP = 14  # of half precision: values of a tensor are scaled so that the largest is in 2^14 .. 2^15


class Coded(NamedTuple):
    """A weight tensor in codes."""

    codes: NDArray[np.uint8]  # (R, L)
    scales: Floats  # (R,)
    codebook: Floats  # (K,), K <= 256
    shape: tuple[int, ...]  # of the tensor; R of the first dimension

    def values(self) -> Floats:
        """The weights, float32 of `shape`."""
        found: Floats = (self.codebook[self.codes] * self.scales[:, None]).reshape(self.shape)
        return found


class Packed(NamedTuple):
    """What a file holds."""

    directory: dict[
        str, Any
    ]  # JSON: "coded" {name: shape}, "halves" [[name, shape, exponent]], "integers" {name: value}
    stored: dict[str, Tensor]


def packed(tensors: Mapping[str, Tensor], coded: Mapping[str, Coded]) -> Packed:
    """Tensors of a network, those in `coded` by their codes, the others rounded to half precision.

    Scales and codebooks must be values of `halves`, so that what is read is what was measured.
    """
    stored = {CODES + name: _bytes(encode(each.codes.ravel(), len(each.codebook))) for name, each in coded.items()}
    rest = {name: tensor.numpy() for name, tensor in tensors.items() if name not in coded}
    integers = {name: int(array) for name, array in rest.items() if array.dtype.kind == "i" and not array.ndim}
    floats = {name: array for name, array in rest.items() if name not in integers}
    for name, each in coded.items():
        floats |= {name + SCALES: each.scales, name + CODEBOOK: each.codebook}
    parts = {name: _half(array) for name, array in floats.items()}
    halves = [[name, list(floats[name].shape), exponent] for name, (exponent, _) in parts.items()]
    stored[HALVES] = torch.from_numpy(np.concatenate([half.ravel() for _, half in parts.values()]))
    shapes = {name: list(each.shape) for name, each in coded.items()}
    return Packed({"coded": shapes, "halves": halves, "integers": integers}, stored)


def unpacked(directory: object, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of which `packed` gave both. WeightsError for whatever does not fit together."""
    coded = codes_in(directory, stored)
    found = {name: torch.from_numpy(each.values()) for name, each in coded.items()}
    own = {name + end for name in coded for end in (SCALES, CODEBOOK)}
    rest = {name: torch.from_numpy(each) for name, each in floats_in(directory, stored).items() if name not in own}
    integers = {name: torch.tensor(_integer(value)) for name, value in _told(directory)["integers"].items()}
    return {**found, **rest, **integers}


def codes_in(directory: object, stored: Mapping[str, Tensor]) -> dict[str, Coded]:
    """The weights in codes, by name; errors as for `unpacked`."""
    halves = floats_in(directory, stored)
    try:
        return {
            name: _coded(stored[CODES + name], halves[name + SCALES], halves[name + CODEBOOK], shape)
            for name, shape in _told(directory)["coded"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"its compressed weights do not fit together ({error}); compress the model anew") from error


def half_rounded(values: Floats) -> Floats:
    """The values that a file gives back for these: half precision, whatever their magnitude."""
    exponent, half = _half(values)
    return _whole(half, exponent)


def _coded(record: Tensor, scales: Floats, codebook: Floats, shape: Sequence[int]) -> Coded:
    codes = decode(record.numpy())
    if math.prod(shape) != len(codes) or scales.shape != (shape[0],) or codebook.ndim != 1:
        raise ValueError(f"{len(codes)} codes and {len(scales)} rows for the shape {list(shape)}")
    if int(codes.max()) >= len(codebook):
        raise ValueError(f"a code {codes.max()} with a codebook of {len(codebook)}")
    return Coded(codes.reshape(shape[0], -1), scales, codebook, tuple(shape))


def floats_in(directory: object, stored: Mapping[str, Tensor]) -> dict[str, Floats]:
    """By name the tensors in half precision, as float32; errors as for `unpacked`."""
    try:
        listed, values = _told(directory)["halves"], stored[HALVES].numpy()
        sizes = [math.prod(shape) for _, shape, _ in listed]
        if values.dtype != np.float16 or sum(sizes) != values.size or min(sizes, default=0) < 0:
            raise ValueError(f"{values.size} values of {values.dtype} for {sum(sizes)}")
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return {
            name: _whole(part, power).reshape(shape) for (name, shape, power), part in zip(listed, parts, strict=True)
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"its directory is damaged ({error}); compress the model anew") from error


def _told(directory: object) -> dict[str, Any]:
    kinds = {"coded": dict, "halves": list, "integers": dict}
    if not isinstance(directory, dict) or not all(isinstance(directory.get(key), kind) for key, kind in kinds.items()):
        raise WeightsError("it has no directory of its compressed weights; compress the model anew")
    return directory


def _integer(value: object) -> int:
    if not isinstance(value, int) or abs(value) >= 2**63:
        raise WeightsError(f"a counter in its directory is {value!r}, no whole number; compress the model anew")
    return value


def _half(values: NDArray[Any]) -> tuple[int, NDArray[np.float16]]:
    """An exponent e and values / 2^e in half precision."""
    most = float(np.abs(values).max(initial=0))
    exponent = math.frexp(most)[1] - 1 - TOP if most else 0
    return exponent, np.ldexp(values.astype(np.float64), -exponent).astype(np.float16)


def _whole(half: NDArray[np.float16], exponent: int) -> Floats:
    found: Floats = np.ldexp(half.astype(np.float32), exponent)
    return found


def _bytes(record: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(record, np.uint8).copy())
