"""The recipes published for ImageNet."""

from typing import Any


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
