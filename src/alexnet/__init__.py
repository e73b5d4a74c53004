"""alexnet trains, understands and ships AlexNet (Krizhevsky, Sutskever, Hinton 2012).

    import alexnet
    run = alexnet.train("flowers17")                # a Run: .folder, .metrics, .classifier
    alexnet.evaluate(run, "flowers17", views=10)    # an Evaluation
    model = alexnet.load("runs/flowers17-modern-1") # a Classifier
    model.predict("rose.jpg", top_k=5)              # a list of one Prediction
    net = alexnet.create("krizhevsky2012")          # a torch.nn.Module: float (N, 3, H, W) -> logits (N, 1000)
    net = alexnet.create("bvlc", weights="imagenet:bvlc")   # published weights; a run's folder or a file, too

Nothing heavy is imported until it is used, so that `import alexnet` and `alexnet --help` are instant.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report its use to its maker

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Evaluation",
    "Exported",
    "PerceptualDistance",
    "Prediction",
    "Preprocessing",
    "Run",
    "calibrate",
    "create",
    "errors",
    "evaluate",
    "list_networks",
    "load",
    "ops",
    "perceptual_distance",
    "train",
]

if TYPE_CHECKING:
    from alexnet import errors, ops
    from alexnet.api import Run, train
    from alexnet.data.preprocess import Preprocessing
    from alexnet.inference.answers import Prediction
    from alexnet.inference.calibrate import calibrate
    from alexnet.inference.classifier import Classifier
    from alexnet.inference.evaluate import Evaluation, evaluate
    from alexnet.inference.loading import load
    from alexnet.inference.perceptual import PerceptualDistance, perceptual_distance
    from alexnet.inference.runtime import Exported
    from alexnet.networks import list_networks
    from alexnet.weights.named import create

_HOME = {
    "create": "alexnet.weights.named",
    "list_networks": "alexnet.networks",
    "Classifier": "alexnet.inference.classifier",
    "Prediction": "alexnet.inference.answers",
    "load": "alexnet.inference.loading",
    "Evaluation": "alexnet.inference.evaluate",
    "Exported": "alexnet.inference.runtime",
    "evaluate": "alexnet.inference.evaluate",
    "calibrate": "alexnet.inference.calibrate",
    "PerceptualDistance": "alexnet.inference.perceptual",
    "perceptual_distance": "alexnet.inference.perceptual",
    "Preprocessing": "alexnet.data.preprocess",
    "Run": "alexnet.api",
    "train": "alexnet.api",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "ops"):
        return import_module(f"alexnet.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'alexnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is imported when it is first used stands in the list too, for a notebook's completion."""
    return sorted({*globals(), *__all__})
