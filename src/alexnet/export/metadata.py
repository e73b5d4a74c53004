"""What an export says of itself: our card, and the keys by which other programs find classes and preprocessing.

Every value is JSON, but for plain words and numbers. K classes, numbered in the order of the probabilities.

| key | who reads it |
|---|---|
| alexnet.card, alexnet.input | we |
| names, imgsz, task, channels, stride, batch, description, version | ultralytics |
| architecture, num_classes, label_names, pretrained_cfg | timm, as in its config.json |
| id2label, label2id, model_type, preprocessor_config | Hugging Face, as in config.json and preprocessor_config.json |
| Image.BitmapPixelFormat, Image.ColorSpaceGamma, Image.NominalPixelRange | ONNX's own properties of image inputs |
"""

import json
from typing import Any

from alexnet import __version__
from alexnet.data.preprocess import Preprocessing
from alexnet.weights.card import Card
from alexnet.weights.exported import CARD

INPUT = "alexnet.input"
BILINEAR = 2  # of Pillow's filters, as Hugging Face writes it
WHOLE_INPUT = (
    "uint8 (height, width, 3), red, green, blue, of any size, upright as EXIF says, transparency laid over white"
)


def metadata(card: Card, batched: bool) -> dict[str, str]:
    """The keys with their values, for the form that takes normalised batches, or for the one that takes a picture."""
    given = {INPUT: _input(card, batched), **_ultralytics(card), **_timm(card), **_hugging_face(card)}
    texts = {key: value if isinstance(value, str) else _json(value) for key, value in given.items()}
    return {CARD: json.dumps(card.to_json(), sort_keys=True), **texts, **({} if batched else _image())}


def _json(value: Any) -> str:
    """Letters as they are: ultralytics reads its keys as Python's literals, which know no pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False)


def _input(card: Card, batched: bool) -> dict[str, Any]:
    """What the input is. value_range: file values that whoever decodes maps to 0 and 255, None: by the format."""
    preprocessing = Preprocessing.from_json(card.preprocessing)
    values = {"value_range": preprocessing.value_range and list(preprocessing.value_range)}
    if not batched:
        return {"name": "image", "is": WHOLE_INPUT, **values}
    side, steps = card.input_size, {"mean": list(preprocessing.mean), "std": list(preprocessing.std)}
    shape = f"float32 (N, 3, {side}, {side}), red, green, blue, (value of 0 to 255 - mean) / std"
    return {"name": "images", "is": shape, **steps, **values}


def _ultralytics(card: Card) -> dict[str, Any]:
    names = {str(number): name for number, name in enumerate(card.class_names)}
    said = {"description": f"{card.network} of alexnet", "version": __version__, "task": "classify"}
    return {**said, "names": names, "imgsz": [card.input_size] * 2, "channels": 3, "stride": 1, "batch": 1}


def _timm(card: Card) -> dict[str, Any]:
    preprocessing = Preprocessing.from_json(card.preprocessing)
    side = preprocessing.input_size
    config = {
        "input_size": [3, side, side],
        **_fractions(preprocessing, "mean", "std"),
        "crop_pct": side / preprocessing.resize,
        "crop_mode": "squash" if preprocessing.fit == "warp" else "border" if preprocessing.fit == "pad" else "center",
        "interpolation": "bilinear",
        "num_classes": card.num_classes,
    }
    said = {"architecture": card.network, "num_classes": card.num_classes, "label_names": card.class_names}
    return {**said, "pretrained_cfg": config}


def _hugging_face(card: Card) -> dict[str, Any]:
    preprocessing = Preprocessing.from_json(card.preprocessing)
    side, resize = preprocessing.input_size, preprocessing.resize
    config = {
        "do_resize": True,
        "size": {"height": resize, "width": resize} if preprocessing.fit == "warp" else {"shortest_edge": resize},
        "resample": BILINEAR,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        **_fractions(preprocessing, "image_mean", "image_std"),
    }
    labels = {
        "id2label": {str(number): name for number, name in enumerate(card.class_names)},
        "label2id": {name: number for number, name in enumerate(card.class_names)},
    }
    return {"model_type": card.network, **labels, "preprocessor_config": config}


def _fractions(preprocessing: Preprocessing, mean: str, std: str) -> dict[str, list[float]]:
    """Mean and deviation for values of 0 to 1, as these programs take them."""
    return {mean: [value / 255 for value in preprocessing.mean], std: [value / 255 for value in preprocessing.std]}


def _image() -> dict[str, str]:
    return {
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
