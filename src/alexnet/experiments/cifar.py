"""Experiments on CIFAR-10; that on local response normalisation also uses the flowers.

Every builder takes `quick`: True for a version of at most ten minutes on two cores, with fewer epochs, seeds or images.
"""

from dataclasses import fields, replace
from typing import Any

from alexnet.experiments.experiment import Arm, Experiment, Study
from alexnet.experiments.flowers import PAPER, flowers_recipe
from alexnet.training.recipes import CIFAR, recipe
from alexnet.training.settings import Recipe


def relu_vs_tanh(quick: bool) -> Experiment:
    """The paper's figure 1: epochs until 25 % training error by activation, the learning rate tuned for each.

    alexnet experiment relu-vs-tanh
    Four layers: the 19 % network without regularisation. The paper states neither its network nor its rates.
    With --quick the target is 40 % on 1,000 images.
    """
    base = replace(
        recipe("cifar-19pct"),
        weight_decay=0.0,
        layer_decay="",
        schedule="constant",
        lr_drops=(),
        epochs=40 if quick else 100,
        stop_train_error=0.4 if quick else 0.25,
        train_images=1000 if quick else None,
        evaluate_every=1000,
    )
    # Likely best rate first: the others stop at the epoch where it reached the target.
    relu = (0.004, 0.002) if quick else (0.004, 0.002, 0.008)
    tanh = (0.024, 0.012) if quick else (0.012, 0.024, 0.006)
    sigmoid = (0.064,) if quick else (0.032, 0.064, 0.128)
    arms = (
        Arm("ReLU", {}, relu),
        Arm("tanh", {"differences": "activation=tanh"}, tanh, published="6 times"),
        Arm("sigmoid", {"differences": "activation=sigmoid"}, sigmoid),
    )
    return Experiment(
        "relu-vs-tanh",
        "Does a network with ReLU learn sooner than the same network with tanh or with sigmoid units?",
        f"ReLU six times sooner than tanh ({PAPER}, figure 1).",
        (Study("CIFAR-10, four layers", "cifar10", base, arms, "epochs"),),
        seeds=2 if quick else 3,
        minutes=15 if quick else 220,
    )


def lrn(quick: bool) -> Experiment:
    """One network with and without normalisation between channels, on two data sets.

    alexnet experiment lrn
    CIFAR-10: the 11 % network with its published protocol, shortened. Flowers: the 18 % network's three convolutions.
    """
    cifar = replace(recipe("cifar-11pct", epochs=3 if quick else 16), evaluate_every=1 if quick else 4)
    flowers = replace(
        flowers_recipe(quick),
        network="cifar-18pct",
        input_size=64,
        optimizer="velocity",
        lr=0.001,
        weight_decay=0.004,
        bias_lr_factor=2.0,
        batch_size=16,
        augment="crop,flip",
        epochs=40 if quick else 120,
    )
    return Experiment(
        "lrn",
        "Does local response normalisation between channels lower the test error?",
        f"13 to 11 % on CIFAR-10, 1.4 points of top-1 error on ImageNet ({PAPER}, section 3.3).",
        (
            Study(
                "CIFAR-10, the 11 % network",
                "cifar10",
                cifar,
                (Arm("without", {"differences": "norm=none"}, published="13 %"), Arm("with LRN", published="11 %")),
            ),
            Study(
                "17 flowers at 64 px",
                "flowers17",
                flowers,
                (Arm("without", {"differences": "norm=none"}), Arm("with LRN", {"differences": "norm=between"})),
            ),
        ),
        seeds=1 if quick else 3,
        minutes=9 if quick else 85,
    )


def lrn_kinds(quick: bool) -> Experiment:
    """No normalisation, between channels, within a channel, both, and BatchNorm.

    alexnet experiment lrn-kinds
    """
    kinds = {"between channels": "between", "within a channel": "within", "both": "both", "BatchNorm": "batch"}
    arms = [Arm("none"), *(Arm(name, {"differences": f"norm={norm}"}) for name, norm in kinds.items())]
    return _on_cifar(
        "lrn-kinds",
        "Which normalisation after the first two pools lowers the test error most?",
        "18 % within a channel against 19 % without (cuda-convnet, layers-18pct.cfg and layers-19pct.cfg).",
        _cifar(quick),
        arms,
        quick,
        minutes=10 if quick else 170,
    )


def overlapping_pool(quick: bool) -> Experiment:
    """Pooling windows of 3 x 3 and of 2 x 2, both with stride 2.

    alexnet experiment overlapping-pool
    """
    return _on_cifar(
        "overlapping-pool",
        "Do pools that overlap lower the test error?",
        f"0.4 points of top-1 and 0.3 of top-5 error on ImageNet ({PAPER}, section 3.4).",
        _cifar(quick),
        [Arm("2 x 2", {"differences": "pool=2"}), Arm("3 x 3, overlapping", {}, published="0.4 points fewer")],
        quick,
        seeds=2,
        minutes=7 if quick else 70,
    )


def weight_decay(quick: bool) -> Experiment:
    """Four strengths; the paper reports that 5e-4 lowers the training error as well.

    alexnet experiment weight-decay
    """
    base = replace(_cifar(quick), layer_decay="")
    arms = [Arm(f"{decay:g}", {"weight_decay": decay}) for decay in (0.0, 5e-5, 5e-4, 5e-3)]
    return _on_cifar(
        "weight-decay",
        "Does weight decay lower the training error as well as the test error?",
        f"it is 'not merely a regularizer: it reduces the model's training error' ({PAPER}, section 5).",
        base,
        arms,
        quick,
        minutes=7 if quick else 130,
    )


def views(quick: bool) -> Experiment:
    """The same weights with one view of each test image, and with ten: corners, centre and their reflections.

    alexnet experiment views
    """
    arms = [
        Arm("one view", {}, published="39.0 % (ImageNet)"),
        Arm("ten views", {}, views=10, trained_as="one view", published="37.5 % (ImageNet)"),
    ]
    return _on_cifar(
        "views",
        "Does averaging ten views of a test image lower the test error?",
        f"39.0 to 37.5 % top-1 error on ImageNet 2010 ({PAPER}, section 4.1).",
        recipe("cifar-13pct", epochs=5 if quick else 60),
        arms,
        quick,
        seeds=2,
        minutes=10 if quick else 105,
    )


def cuda_convnet(quick: bool) -> Experiment:
    """cuda-convnet's CIFAR-10 networks with their published protocols.

    alexnet experiment cuda-convnet
    With --quick only the first is trained in full. --seeds 1 takes a third of the time.
    """
    short = {"cifar-80sec": 10, "cifar-19pct": 3, "cifar-18pct": 3, "cifar-13pct": 2, "cifar-11pct": 2}
    published = dict(zip(short, ("26 %", "19 %", "18 %", "13 %", "11 %"), strict=True))
    protocols = [recipe(name, epochs=short[name] if quick else None) for name in CIFAR]
    arms = [
        Arm(each.name, _changes(protocols[0], each), views=9 if each.augment else 1, published=published[each.name])
        for each in protocols
    ]
    return _on_cifar(
        "cuda-convnet",
        "Do the published networks reach their published test errors?",
        "26, 19, 18, 13 and 11 % (cuda-convnet's files; the last two over nine views).",
        protocols[0],
        arms,
        quick,
        minutes=13 if quick else 1500,
        seeds=1,
    )


def _on_cifar(
    name: str, question: str, published: str, base: Recipe, arms: list[Arm], quick: bool, minutes: int, seeds: int = 1
) -> Experiment:
    """An experiment of one study on CIFAR-10; `seeds` applies to --quick."""
    study = Study("CIFAR-10", "cifar10", base, tuple(arms))
    return Experiment(name, question, published, (study,), seeds if quick else 3, minutes)


def _cifar(quick: bool) -> Recipe:
    """The 19 % network's protocol, shortened."""
    return replace(recipe("cifar-19pct", epochs=4 if quick else 40), evaluate_every=1 if quick else 5)


def _changes(base: Recipe, other: Recipe) -> dict[str, Any]:
    """The fields of `other` that differ from `base`, apart from the name."""
    names = [each.name for each in fields(Recipe) if each.name != "name"]
    return {name: getattr(other, name) for name in names if getattr(base, name) != getattr(other, name)}
