"""The stages of the published networks: what is compiled, checked and timed. Imports without Triton."""

from alexnet.ops.native.operators import Stage

LRN = {"size": 5, "alpha": 2e-5, "k": 1.0}
POOL = {"kernel": 3, "stride": 2, "ceil_mode": True}
WITHIN = {"within_size": 5, "within_alpha": 4e-5, "within_k": 1.0}
STAGES = {  # name: operator, settings, (channels, side) of the map
    "bvlc, after conv1": ("lrn_pool", Stage(relu=True, **LRN, **POOL), (96, 55)),  # type: ignore[arg-type]
    "bvlc, after conv2": ("lrn_pool", Stage(relu=True, **LRN, **POOL), (256, 27)),  # type: ignore[arg-type]
    "bvlc, after conv3": ("pool_lrn", Stage(relu=True, kernel=1), (384, 13)),
    "bvlc, after conv5": ("pool_lrn", Stage(relu=True, **POOL), (256, 13)),  # type: ignore[arg-type]
    "caffenet, after conv1": ("pool_lrn", Stage(relu=True, **LRN, **POOL), (96, 55)),  # type: ignore[arg-type]
    "krizhevsky2012, after conv1": (
        "lrn_pool",
        Stage(relu_after=True, blocks=2, **LRN, **POOL),  # type: ignore[arg-type]
        (96, 55),
    ),
    "krizhevsky2012, after conv2": (
        "lrn_within",
        Stage(relu=True, blocks=2, **LRN, **WITHIN),  # type: ignore[arg-type]
        (256, 27),
    ),
}
NORMS = {  # name: what follows BatchNorm, (channels, side) of the map
    "modern, after conv1": (Stage(relu=True, kernel=3, stride=2, padding=1), (96, 48)),
    "modern, after conv3": (Stage(relu=True), (384, 12)),
}
