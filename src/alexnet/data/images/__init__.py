"""Decoding of images to uint8 RGB pixels, the same for training, evaluation and prediction.

H, W are height and width in pixels. All functions are deterministic and thread-safe. Formats are recognised by content,
never by file name.
"""

from alexnet.data.images.facts import ImageFacts
from alexnet.data.images.kinds import IMAGE_SUFFIXES
from alexnet.data.images.pixels import Pixels, ValueRange, Values, digest, is_blank
from alexnet.data.images.reading import MAX_PIXELS, ImageSource, decode, decode_values, enough_for, inspect
from alexnet.data.images.squaring import square

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageFacts",
    "ImageSource",
    "Pixels",
    "ValueRange",
    "Values",
    "decode",
    "decode_values",
    "digest",
    "enough_for",
    "inspect",
    "is_blank",
    "square",
]
