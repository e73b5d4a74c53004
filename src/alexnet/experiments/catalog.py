"""The experiments: a base recipe and what each arm does differently, a few lines each.

Every builder takes `quick`: True gives one of at most ten minutes on two cores, with fewer epochs, seeds or images.
Minutes are about those on one core of a server processor of 2022 or 2023; where docs/results.md has none for an
experiment, as reckoned from what its epochs take.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from alexnet.errors import unknown_name
from alexnet.experiments.experiment import Arm, Experiment, Study, runs_of
from alexnet.training.recipes import CIFAR, recipe
from alexnet.training.settings import Recipe

PAPER = "Krizhevsky, Sutskever, Hinton 2012"


def relu_vs_tanh(quick: bool) -> Experiment:
    """The paper's figure 1: epochs until 25 % training error, by activation; the rate tuned for each.

    alexnet experiment relu-vs-tanh
    Four layers: the 19 % network without any regularisation. The paper names neither its network nor its rates.
    --quick asks for 40 % on a fifth of the images, which takes an epoch of a fifth of the steps.
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
    # The likeliest rate comes first: another one is stopped where that was done.
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


def remedies(quick: bool) -> Experiment:
    """The article's four remedies for too few images, alone and together, from 60 photos a class.

    alexnet experiment remedies
    Pre-training learns from the same 1,020 photos, without their labels.
    """
    remedy: dict[str, dict[str, Any]] = {
        "augmentation": {"augment": "crop,flip,pca"},
        "weight decay": {"weight_decay": 5e-4},
        "dropout": {"dropout": 0.5},
    }
    together = {name: value for each in remedy.values() for name, value in each.items()}
    auto_encoder = _pretraining("autoencoder", quick)
    arms = [
        Arm("none"),
        *_arms(remedy),
        Arm("pre-training, auto-encoder", pretrained=auto_encoder),
        *([] if quick else [Arm("pre-training, RBM", pretrained=_pretraining("crbm", quick))]),
        Arm("all four", together, pretrained=auto_encoder),
    ]
    return Experiment(
        "remedies",
        "Which of the remedies for too few images helps on 17 kinds of flowers, and do they add up?",
        "no figures; the article recommends augmentation, a regularisation term, dropout and pre-training.",
        (Study("17 flowers", "flowers17", _flowers(quick), tuple(arms)),),
        seeds=1 if quick else 3,
        minutes=10 if quick else 90,
    )


def pretraining(quick: bool) -> Experiment:
    """Accuracy against the number of labels, from random layers and from layers pre-trained without labels.

    alexnet experiment pretraining
    Unlabelled are all 1,020 training photos or, in a second row, those and Tiny ImageNet's training images; all images
    at 64 px, the side of Tiny ImageNet's. The rate of each arm is the best of three on a division of its own, at each
    number of labels.
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
    base = replace(_flowers_at_64(), augment="crop,flip", weight_decay=5e-4, evaluate_every=1000)
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
    """The article's program, and what putting each of its oddities right is worth.

    alexnet experiment article
    Its one epoch is 17 steps, in which little shows; so each is put right in a longer run as well, but for --quick,
    whose longer runs are the program as it stands and with all of it put right.
    """
    right: dict[str, dict[str, Any]] = {
        "padding": {"differences": "padding=true"},
        "conv2 of 5 x 5": {"differences": "conv2=5"},
        "overlapping pools": {"differences": "pool=3"},
        "no hidden layer of 1000": {"differences": "hidden=0"},
        "no ReLU in that layer": {"differences": "hidden_relu=false"},
        "BatchNorm that forgets sooner": {"differences": "memory=0.9"},
        "dropout 0.5": {"dropout": 0.5},
        "augmentation": {"resize": 256, "augment": "crop,flip,pca"},
    }
    words = [each["differences"] for name, each in right.items() if "differences" in each and "ReLU" not in name]
    everything = {**right["augmentation"], "dropout": 0.5, "differences": ",".join(map(str, words))}
    epochs = 3 if quick else 15
    base = replace(recipe("article"), validation=0.0, test=0.2, given_splits=False, evaluate_every=5)
    each, every = _arms(right), Arm("all of it", everything)
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
    base = replace(_flowers(quick), weight_decay=5e-4, dropout=0.5)
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


def lrn(quick: bool) -> Experiment:
    """One network with and without normalisation between channels, on two sets of images.

    alexnet experiment lrn
    CIFAR-10: the 11 % network by its own protocol, shortened. Flowers: the 18 % network's three convolutions at 64 px.
    """
    cifar = replace(recipe("cifar-11pct", epochs=3 if quick else 16), evaluate_every=1 if quick else 4)
    flowers = replace(
        _flowers(quick),
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
    """Normalisation between channels, within each, both, none, and BatchNorm.

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
    """Windows of 3 x 3 against 2 x 2, both at every second place.

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


def dropout(quick: bool) -> Experiment:
    """Training and test error by epoch without dropout, with the article's 0.4 and the paper's 0.5.

    alexnet experiment dropout
    """
    base = replace(_flowers(quick), weight_decay=5e-4, augment="crop,flip", epochs=60 if quick else 80)
    arms = tuple(Arm(f"dropout {share:g}", {"dropout": share}) for share in (0.0, 0.4, 0.5))
    return Experiment(
        "dropout",
        "Does dropout keep the test error down, and how much longer does training take?",
        f"it prevents substantial overfitting and about doubles the iterations ({PAPER}, section 4.2).",
        (Study("17 flowers", "flowers17", base, arms),),
        seeds=1 if quick else 3,
        minutes=8 if quick else 45,
    )


def weight_decay(quick: bool) -> Experiment:
    """Four strengths: the paper says that its 5e-4 lowers the training error, too.

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
    """The same weights asked once, at the centre, and ten times: corners, centre and their mirror images.

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
    """cuda-convnet's CIFAR-10 networks by their own protocols.

    alexnet experiment cuda-convnet
    With --quick only the first is whole. All of it takes a third of the time with --seeds 1.
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


EXPERIMENTS: dict[str, Callable[[bool], Experiment]] = {
    build.__name__.replace("_", "-"): build
    for build in (
        relu_vs_tanh,
        remedies,
        pretraining,
        article,
        augmentation,
        lrn,
        lrn_kinds,
        overlapping_pool,
        dropout,
        weight_decay,
        views,
        cuda_convnet,
    )
}


def experiment(name: str, quick: bool = False) -> Experiment:
    """The experiment of that name; UsageError for one that is not known."""
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, [*EXPERIMENTS, "list"])
    return EXPERIMENTS[name](quick)


def listed() -> list[dict[str, Any]]:
    """Name, question and published figure of every experiment, its data, how many runs it makes and in how long."""
    return [_listed(experiment(name), experiment(name, quick=True)) for name in EXPERIMENTS]


def _listed(whole: Experiment, quick: Experiment) -> dict[str, Any]:
    return {
        "name": whole.name,
        "question": whole.question,
        "published": whole.published,
        "data": sorted({study.data for study in whole.studies}),
        "runs": _runs(whole),
        "quick_runs": _runs(quick),
        "minutes": whole.minutes,
        "quick_minutes": quick.minutes,
    }


def _runs(made: Experiment) -> int:
    return sum(runs_of(study, arm, made.seeds) for study in made.studies for arm in study.trained())


def _arms(settings: Mapping[str, Mapping[str, Any]]) -> list[Arm]:
    """An arm for each of these, by name."""
    return [Arm(name, each) for name, each in settings.items()]


def _pretraining(method: str, quick: bool, also: str = "") -> dict[str, Any]:
    """Two convolutions: ten passes over the flowers, or one over fifty times as many images."""
    settings: dict[str, Any] = {"method": method, "layers": "2", "epochs": 3 if quick else 10}
    return {**settings, "epochs": 1, "also": also} if also else settings


def _on_cifar(
    name: str, question: str, published: str, base: Recipe, arms: list[Arm], quick: bool, minutes: int, seeds: int = 1
) -> Experiment:
    """One study on CIFAR-10; `seeds` are those of --quick."""
    study = Study("CIFAR-10", "cifar10", base, tuple(arms))
    return Experiment(name, question, published, (study,), seeds if quick else 3, minutes)


def _cifar(quick: bool) -> Recipe:
    """The 19 % network's protocol, shortened."""
    return replace(recipe("cifar-19pct", epochs=4 if quick else 40), evaluate_every=1 if quick else 5)


def _flowers(quick: bool) -> Recipe:
    """Sixty photos a class, without any remedy: `modern`'s layers, momentum as in 2012; --quick: 64 px."""
    if quick:
        return replace(_flowers_at_64(), epochs=40)
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
        given_splits=False,  # one a seed, of the whole set; the publisher's three have 40 training photos a class
    )


def _flowers_at_64() -> Recipe:
    """The same at 64 px, which takes half the time."""
    return replace(_flowers(False), input_size=64, store_size=80, resize=73)


def _changes(base: Recipe, other: Recipe) -> dict[str, Any]:
    """The fields in which two recipes differ, but for their names."""
    names = [each.name for each in fields(Recipe) if each.name != "name"]
    return {name: getattr(other, name) for name in names if getattr(base, name) != getattr(other, name)}
