"""Baseline: two networks in Keras 3 on TensorFlow, written as Keras programs usually are. Does not import torch.

Requires the extra `bench`: pip install -e ".[bench]" in a checkout.
"""

import tempfile
from typing import Any

import numpy as np

from alexnet.bench.measure import Contender
from alexnet.bench.worker import Work, repeated


def contender(network: str, classes: int, batch_size: int, seconds: float, precision: str = "float32") -> Contender:
    """The contender for training steps of "bvlc" (SGD) or "article" (Adam)."""
    settings = {"network": network, "classes": classes, "batch_size": batch_size}
    settings |= {"seconds": seconds, "precision": precision}
    environment = {
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": tempfile.gettempdir(),  # Keras reads and writes its settings there
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    name = f"{network}: Keras on TensorFlow, {precision}"
    return Contender(name, f"{__name__}:train_step", settings, ours=False, environment=environment)


def train_step(network: str, classes: int, batch_size: int, seconds: float, precision: str) -> Work:
    """`train_on_batch` on one batch. precision: "float32", or "bfloat16" for the mixed policy. Unit: image."""
    import keras
    import tensorflow

    keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    model = {"bvlc": _bvlc, "article": _article}[network](keras, tensorflow, classes)
    random = np.random.default_rng(0)
    images = tensorflow.constant(random.random((batch_size, *model.input_shape[1:]), np.float32))
    labels = tensorflow.constant(random.integers(0, classes, batch_size))
    return repeated(lambda: model.train_on_batch(images, labels), batch_size, seconds)


def _bvlc(keras: Any, tensorflow: Any, classes: int) -> Any:
    """`alexnet.networks.caffe.BVLC`, with TensorFlow's LRN, which has no bfloat16 kernel on CPUs."""
    layers = keras.layers

    def norm() -> Any:
        def compute(x: Any) -> Any:
            return tensorflow.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=1e-4 / 5, beta=0.75)

        return layers.Lambda(compute, output_shape=lambda shape: shape)

    model = keras.Sequential(
        [
            keras.Input((227, 227, 3)),
            layers.Conv2D(96, 11, strides=4, activation="relu"),
            norm(),
            layers.MaxPooling2D(3, strides=2),
            layers.Conv2D(256, 5, padding="same", groups=2, activation="relu"),
            norm(),
            layers.MaxPooling2D(3, strides=2),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(384, 3, padding="same", groups=2, activation="relu"),
            layers.Conv2D(256, 3, padding="same", groups=2, activation="relu"),
            layers.MaxPooling2D(3, strides=2),
            layers.Flatten(),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax", dtype="float32"),
        ]
    )
    return _compiled(keras, model, keras.optimizers.SGD(1e-4, momentum=0.9, weight_decay=5e-4))


def _article(keras: Any, tensorflow: Any, classes: int) -> Any:
    """The article's program, `alexnet.networks.article.Article`."""
    layers = keras.layers
    found = [keras.Input((224, 224, 3))]
    found += _block(layers, channels=96, side=11, stride=4, pooled=True)
    found += _block(layers, channels=256, side=11, pooled=True)
    found += _block(layers, channels=384, side=3)
    found += _block(layers, channels=384, side=3)
    found += [*_block(layers, channels=256, side=3, pooled=True), layers.Flatten()]
    for units in (4096, 4096, 1000):
        found += [layers.Dense(units, activation="relu"), layers.Dropout(0.4), layers.BatchNormalization()]
    model = keras.Sequential([*found, layers.Dense(classes, activation="softmax", dtype="float32")])
    return _compiled(keras, model, keras.optimizers.Adam(1e-4))


def _block(layers: Any, channels: int, side: int, stride: int = 1, pooled: bool = False) -> list[Any]:
    """Convolution with ReLU, optional 2 x 2 pooling, batch normalisation."""
    pool = [layers.MaxPooling2D(2, strides=2)] if pooled else []
    return [layers.Conv2D(channels, side, strides=stride, activation="relu"), *pool, layers.BatchNormalization()]


def _compiled(keras: Any, model: Any, optimizer: Any) -> Any:
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy())
    return model
