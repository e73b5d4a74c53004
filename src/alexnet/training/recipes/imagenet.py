"""The recipes published for ImageNet."""

from typing import Any

from alexnet.training.recipes.modern import modern


def krizhevsky2012() -> dict[str, Any]:
    """The 2012 run: its optimiser, augmentation, and the learning-rate drops made by hand over 91 epochs.

    alexnet train imagenet:/folder --recipe krizhevsky2012
    Published: 59.3 / 81.8 % on ImageNet's validation images, ten views, in five to six days on two GPUs. Neither is
    measured here.
    Source: cuda-convnet's layer-params-145.cfg: rate .01, divided by ten after epochs 25, 51 and 79. Left out of those
    notes: from epoch 67 conv1 had a tenth of the rate and colour noise was off, from 72 conv1 was frozen; the biases'
    rate was not lowered with the weights'.
    """
    return {
        "network": "krizhevsky2012",
        "epochs": 91,
        "batch_size": 128,
        "optimizer": "velocity",
        "lr": 0.01,
        "bias_lr_factor": 2.0,
        "schedule": "steps",
        "lr_drops": (25, 51, 79),
        "augment": "crop,flip,pca",
    }


def bvlc() -> dict[str, Any]:
    """Caffe's replication: step schedule, no colour noise.

    alexnet train imagenet:/folder --recipe bvlc
    Published: 57.1 / 80.2 % on ImageNet's validation images, centre view. Neither score nor time is measured here.
    Source: models/bvlc_alexnet/solver.prototxt: batch 256, 450,000 steps, rate / 10 every 100,000 of them; one epoch
    of ILSVRC 2012 is 5,005 steps of 256. Images are warped to 256 x 256 pixels, as examples/imagenet's
    create_imagenet.sh resizes them, whatever their proportions.
    """
    return {
        **krizhevsky2012(),
        "network": "bvlc",
        "epochs": 90,
        "batch_size": 256,
        "lr_drops": (20, 40, 60, 80),
        "fit": "warp",
        "augment": "crop,flip",
    }


def caffenet() -> dict[str, Any]:
    """CaffeNet's run, by the same settings.

    alexnet train imagenet:/folder --recipe caffenet
    Published: 57.4 / 80.4 % on ImageNet's validation images, centre view. Neither score nor time is measured here.
    Source: models/bvlc_reference_caffenet/solver.prototxt, whose numbers are those of bvlc_alexnet.
    """
    return {**bvlc(), "network": "caffenet"}


def imagenet_fast() -> dict[str, Any]:
    """`modern` in 18 epochs: images that grow from 96 to 160 px, large batches, hardly any mixing.

    alexnet train imagenet:/folder --recipe imagenet-fast
    Neither score nor time is measured on ImageNet: reckoned are 20 minutes to 2 hours on one H200, 19 hours on two
    cores (docs/imagenet.md). Other networks of this shape with BatchNorm are published with 60 % after 90 epochs.
    Sources: growing images as `modern` has them (Touvron et al. 2019); 16 to 18 epochs, warm-up and smoothing as in
    ffcv-imagenet's short runs. Rate, decay, dropout, crops and average follow those of the package's own weights, which
    were trained on Tiny ImageNet by batches of 512 (tools/pretrained.py): the rate times the root of 2, by which the
    batch is larger, as for other optimisers whose steps do not grow with the gradient (Malladi et al. 2022); rate times
    decay such that weights are forgotten within the same share of a run, about a seventh.
    """
    return {
        **modern(),
        "epochs": 18,
        "batch_size": 1024,
        "lr": 0.035,
        "weight_decay": 0.01,
        "warmup_epochs": 1.0,
        "dropout": 0.1,
        "augment": "resized_crop,flip",
        "crop_scale": 0.35,
        "mix_probability": 0.1,
        "ema": 0.999,
        "evaluate_every": 1,
    }


def torchvision() -> dict[str, Any]:
    """torchvision's training reference for its AlexNet.

    alexnet train imagenet:/folder --recipe torchvision
    Published: 56.5 / 79.1 % on ImageNet's validation images, centre view. Neither score nor time is measured here.
    Source: torchvision references/classification, `--model alexnet --lr 1e-2`: 90 epochs, rate / 10 every 30.
    """
    return {
        "network": "one_weird_trick",
        "epochs": 90,
        "batch_size": 256,
        "optimizer": "sgd",
        "lr": 0.01,
        "weight_decay": 1e-4,
        "decay_biases": True,
        "schedule": "steps",
        "lr_drops": (30, 60),
        "augment": "resized_crop,flip",
        "crop_scale": 0.08,
    }
