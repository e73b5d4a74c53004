"""Tensors in, tensors out; nothing here knows of networks."""

from alexnet.ops.lrn import LocalResponseNorm, local_response_norm

__all__ = ["LocalResponseNorm", "local_response_norm"]
