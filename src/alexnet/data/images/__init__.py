"""Decoding of images to uint8 RGB pixels, the same for training, evaluation and prediction.

H, W are height and width in pixels. All functions are deterministic and thread-safe. Formats are recognised by content,
never by file name.
"""

from alexnet.data.images.facts import ImageFacts
from alexnet.data.images.kinds import IMAGE_SUFFIXES
from alexnet.data.images.pixels import Pixels, digest, is_blank
from alexnet.data.images.reading import MAX_PIXELS, ImageSource, decode, enough_for, inspect, read_square, stored_form
from alexnet.data.images.squaring import square

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageFacts",
    "ImageSource",
    "Pixels",
    "decode",
    "digest",
    "enough_for",
    "inspect",
    "is_blank",
    "read_square",
    "square",
    "stored_form",
]
