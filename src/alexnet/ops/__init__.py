"""Operations on tensors, with native CPU kernels and plain torch fallbacks. Independent of the networks."""

from alexnet.ops.lrn import LocalResponseNorm, local_response_norm

__all__ = ["LocalResponseNorm", "local_response_norm"]
