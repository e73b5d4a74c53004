"""Experiments on the 17 kinds of flowers.

Every builder takes `quick`: True for a version of at most ten minutes on two cores, with fewer epochs, seeds or images.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alexnet.experiments.experiment import Arm, Experiment, Study
from alexnet.training.recipes import recipe
from alexnet.training.settings import Recipe

PAPER = "Krizhevsky, Sutskever, Hinton 2012"


def remedies(quick: bool) -> Experiment:
    """The article's four remedies for too few images, alone and combined, with 60 training photos for each class.

    alexnet experiment remedies
    Pre-training uses the same 1,020 photos, without their labels.
    """
    single: dict[str, dict[str, Any]] = {
        "augmentation": {"augment": "crop,flip,pca"},
        "weight decay": {"weight_decay": 5e-4},
        "dropout": {"dropout": 0.5},
    }
    together = {name: value for each in single.values() for name, value in each.items()}
    auto_encoder = _pretraining("autoencoder", quick)
    arms = [
        Arm("none"),
        *_arms(single),
        Arm("pre-training, auto-encoder", pretrained=auto_encoder),
        *([] if quick else [Arm("pre-training, RBM", pretrained=_pretraining("crbm", quick))]),
        Arm("all four", together, pretrained=auto_encoder),
    ]
    return Experiment(
        "remedies",
        "Which of the remedies for too few images helps on 17 kinds of flowers, and do they add up?",
        "no figures; the article recommends augmentation, a regularisation term, dropout and pre-training.",
        (Study("17 flowers", "flowers17", flowers_recipe(quick), tuple(arms)),),
        seeds=1 if quick else 3,
        minutes=10 if quick else 90,
    )


def pretraining(quick: bool) -> Experiment:
    """Test error by number of labels, from random initial weights and from convolutions pre-trained without labels.

    alexnet experiment pretraining
    Pre-training uses all 1,020 training photos, in further arms Tiny ImageNet's training images as well; all images are
    scaled to 64 px, the size of Tiny ImageNet's. Each arm's rate is the best of three on a separate data split, for
    each number of labels.
    """
    epochs = {5: 80, 20: 40} if quick else {5: 80, 10: 60, 20: 40, 60: 25}
    rates = () if quick else (0.008, 0.02, 0.003)
    names = {"autoencoder": "auto-encoder", "crbm": "RBM"}
    arms = [
        Arm("random", {}, rates),
        *(Arm(name, {}, rates, pretrained=_pretraining(method, quick)) for method, name in names.items()),
    ]
    if not quick:
        arms += [
            Arm(f"{name}, also Tiny ImageNet", {}, rates, pretrained=_pretraining(method, quick, "tiny-imagenet"))
            for method, name in names.items()
        ]
    base = replace(_small_flowers_recipe(), augment="crop,flip", weight_decay=5e-4, evaluate_every=1000)
    studies = [
        Study(f"{labels} labels a class", "flowers17", replace(base, train_images=labels, epochs=count), tuple(arms))
        for labels, count in epochs.items()
    ]
    return Experiment(
        "pretraining",
        "Does it help to pre-train without labels, when few images have one?",
        "it helps where unlabelled images outnumber labelled ones by far, and can hurt where not (Paine et al. 2014).",
        tuple(studies),
        seeds=2 if quick else 3,
        minutes=6 if quick else 100,
        across=("labelled training images a class", tuple(epochs)),
    )


def article(quick: bool) -> Experiment:
    """The article's program, and the effect of correcting each of its departures from the paper.

    alexnet experiment article
    Its one epoch has 17 steps, too few to show differences, so a second study trains for longer. With --quick, that
    study has two arms only: the unchanged program and all corrections together.
    """
    corrections: dict[str, dict[str, Any]] = {
        "padding": {"differences": "padding=true"},
        "conv2 of 5 x 5": {"differences": "conv2=5"},
        "overlapping pools": {"differences": "pool=3"},
        "no hidden layer of 1000": {"differences": "hidden=0"},
        "no ReLU in that layer": {"differences": "hidden_relu=false"},
        "BatchNorm that forgets sooner": {"differences": "memory=0.9"},
        "dropout 0.5": {"dropout": 0.5},
        "augmentation": {"resize": 256, "augment": "crop,flip,pca"},
    }
    words = [each["differences"] for name, each in corrections.items() if "differences" in each and "ReLU" not in name]
    everything = {**corrections["augmentation"], "dropout": 0.5, "differences": ",".join(map(str, words))}
    epochs = 3 if quick else 15
    base = replace(recipe("article"), validation=0.0, test=0.2, given_splits=False, evaluate_every=5)
    each, every = _arms(corrections), Arm("all of it", everything)
    longer = (Arm("more epochs"), *([] if quick else each), every)
    return Experiment(
        "article",
        "What is each departure of the article's program from the network of 2012 worth on 17 kinds of flowers?",
        "no figures; the article prints none for its one epoch.",
        (
            Study("As it stands: one epoch", "flowers17", base, (Arm("as it stands"), *each, every)),
            Study(f"With {epochs} epochs", "flowers17", replace(base, epochs=epochs), longer),
        ),
        seeds=1 if quick else 3,
        minutes=14 if quick else 100,
    )


def augmentation(quick: bool) -> Experiment:
    """Translation, reflection and noise, alone and together.

    alexnet experiment augmentation
    """
    base = replace(flowers_recipe(quick), weight_decay=5e-4, dropout=0.5)
    kinds = {"translation": "crop", "reflection": "flip", "PCA noise": "pca", "Gaussian noise": "gaussian"}
    arms = [
        Arm("none"),
        *(Arm(n, {"augment": a}, published="over 1 point" if a == "pca" else "") for n, a in kinds.items()),
        Arm("all", {"augment": ",".join(kinds.values())}),
    ]
    return Experiment(
        "augmentation",
        "Which changes to the training images lower the test error?",
        f"PCA noise lowers the top-1 error on ImageNet by over 1 point ({PAPER}, section 4.1).",
        (Study("17 flowers", "flowers17", base, tuple(arms)),),
        seeds=1 if quick else 3,
        minutes=9 if quick else 65,
    )


def dropout(quick: bool) -> Experiment:
    """Training and test error by epoch without dropout, with the article's rate of 0.4 and the paper's 0.5.

    alexnet experiment dropout
    """
    base = replace(flowers_recipe(quick), weight_decay=5e-4, augment="crop,flip", epochs=60 if quick else 80)
    arms = tuple(Arm(f"dropout {share:g}", {"dropout": share}) for share in (0.0, 0.4, 0.5))
    return Experiment(
        "dropout",
        "Does dropout keep the test error down, and how much longer does training take?",
        f"it prevents substantial overfitting and about doubles the iterations ({PAPER}, section 4.2).",
        (Study("17 flowers", "flowers17", base, arms),),
        seeds=1 if quick else 3,
        minutes=8 if quick else 45,
    )


def _arms(settings: Mapping[str, Mapping[str, Any]]) -> list[Arm]:
    """One arm for each entry, name -> changed settings."""
    return [Arm(name, each) for name, each in settings.items()]


def _pretraining(method: str, quick: bool, also: str = "") -> dict[str, Any]:
    """Settings for the first two convolutions: ten epochs of the flowers, or one of fifty times as many images."""
    settings: dict[str, Any] = {"method": method, "layers": "2", "epochs": 3 if quick else 10}
    return {**settings, "epochs": 1, "also": also} if also else settings


def flowers_recipe(quick: bool) -> Recipe:
    """The network `modern` without regularisation, Nesterov momentum; 60 training photos a class; quick: 64 px."""
    if quick:
        return replace(_small_flowers_recipe(), epochs=40)
    return Recipe(
        name="plain",
        network="modern",
        input_size=96,
        store_size=128,
        resize=110,
        epochs=80,
        batch_size=32,
        optimizer="nesterov",
        lr=0.02,
        weight_decay=0.0,
        schedule="cosine",
        warmup_epochs=2,
        dropout=0.0,
        evaluate_every=5,
        given_splits=False,  # the published splits have 40 training photos a class
    )


def _small_flowers_recipe() -> Recipe:
    """At 64 px, which halves the time."""
    return replace(flowers_recipe(False), input_size=64, store_size=80, resize=73)
