"""Packed stores: images decoded once, for training to read without decoding."""

from alexnet.data.store.cache import form_of, is_store, named_store, packed, verified
from alexnet.data.store.divided import pack_part, pack_whole
from alexnet.data.store.reader import Store, open_store
from alexnet.data.store.writer import pack

__all__ = [
    "Store",
    "form_of",
    "is_store",
    "named_store",
    "open_store",
    "pack",
    "pack_part",
    "pack_whole",
    "packed",
    "verified",
]
