"""The networks for torch.hub, one entry point each: `torch.hub.load(".", "modern", source="local", trust_repo=True)`.

Each gives a torch.nn.Module in training mode: float (N, 3, H, W), normalised as its weights' card says, to logits
(N, classes). `pretrained=True` takes the weights that come with the package, of `modern` (200 classes of Tiny ImageNet,
64 px), or those published for ImageNet, downloaded and verified, of `bvlc`, `caffenet` and `one_weird_trick`.
`weights=` takes any others, and the rest is as for `alexnet.create`.
"""

import sys as _sys
from collections.abc import Callable as _Callable
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

if _find_spec("alexnet") is None:  # not installed: the package lies beside this file
    _sys.path.append(str(_Path(__file__).parent / "src"))

dependencies = ["torch", "numpy", "PIL", "safetensors", "scipy", "filelock", "platformdirs"]


def _entry(name: str) -> "_Callable[..., object]":
    def build(pretrained: bool = False, **arguments: object) -> object:
        from alexnet import create

        if pretrained:
            arguments.setdefault("weights", _weights_of(name))
        return create(name, **arguments)  # type: ignore[arg-type]

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"The network {name}; pretrained, weights, num_classes, input_size: see this file's head."
    return build


def _weights_of(name: str) -> str:
    """The weights that are published for a network; UsageError for one without any."""
    from alexnet.errors import UsageError
    from alexnet.weights.pretrained import PUBLISHED

    for weights, entry in PUBLISHED.items():
        if entry.network == name and (entry.folder or entry.file.url):
            return weights
    raise UsageError(f"no weights are published for {name}; leave pretrained out, or give weights='runs/mine'")


def _names() -> list[str]:
    from alexnet.networks import list_networks

    return list_networks()


globals().update({_name: _entry(_name) for _name in _names()})
