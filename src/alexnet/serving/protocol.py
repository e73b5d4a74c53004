"""The Open Inference Protocol, version 2, over HTTP: metadata, requests and answers (inference_rest.md of
kserve/open-inference-protocol).

The one input is `image`, BYTES, shape [N]: image files in base64. Outputs: `probabilities`, FP32, [N, K]; `label`,
BYTES, [N], the most probable class; and where the model tells it `unknown`, FP32, [N], above 1 for 'none of these'.
"""

import base64
import binascii
import json
from typing import Any

from alexnet import __version__
from alexnet.serving.problems import Problem
from alexnet.serving.process import ModelCard

MOST = 16  # images in a request
INPUT = "image"
ID_LENGTH = 200  # characters of a request's id, which the answer repeats


def server_metadata() -> dict[str, Any]:
    """GET /v2"""
    return {"name": "alexnet", "version": __version__, "extensions": []}


def metadata(name: str, card: ModelCard) -> dict[str, Any]:
    """GET /v2/models/{name}. Sizes of -1 vary."""
    classes = len(card.class_names)
    outputs = [_tensor("probabilities", "FP32", [-1, classes]), _tensor("label", "BYTES", [-1])]
    if card.unknown:
        outputs.append(_tensor("unknown", "FP32", [-1]))
    return {
        "name": name,
        "versions": [],
        "platform": f"alexnet_{card.network}",
        "inputs": [_tensor(INPUT, "BYTES", [-1])],
        "outputs": outputs,
        "parameters": {"class_names": card.class_names},
    }


def images(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """A request and the image files in it; Problem 400 for what is none."""
    try:
        request = json.loads(body)
        (given,) = request["inputs"]
        data = given["data"]
        found = (given["name"], given["datatype"], given["shape"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Problem(400, f"not a request of the Open Inference Protocol with one input; {_accepted()}") from None
    if isinstance(data, list) and len(data) > MOST:
        raise Problem(400, f"{len(data)} images in one request; send {MOST} at most, and the others in further ones")
    if not isinstance(data, list) or not 1 <= len(data) <= MOST or found != (INPUT, "BYTES", [len(data)]):
        raise Problem(400, f"the input is not {INPUT}, BYTES, of a shape [N] that its data has; {_accepted()}")
    _check_rest(request)
    return request, [_decoded(text, place_of(number, len(data))) for number, text in enumerate(data, 1)]


def place_of(number: int, count: int) -> str:
    """ "image 2 of 5: ", what a refusal of one of several images begins with; empty for the only one."""
    return f"image {number} of {count}: " if count > 1 else ""


def answer(name: str, request: dict[str, Any], told: list[dict[str, Any]], card: ModelCard) -> dict[str, Any]:
    """The answer to a request, from the answers to its images; only outputs that were asked for, if any were."""
    count, classes = len(told), len(card.class_names)
    values = {
        "probabilities": ("FP32", [count, classes], [value for each in told for value in each["probabilities"]]),
        "label": ("BYTES", [count], [each["predictions"][0]["label"] for each in told]),
    }
    if card.unknown:
        values["unknown"] = ("FP32", [count], [each["unknown_score"] for each in told])
    asked = [each["name"] for each in request.get("outputs") or []] or list(values)
    if missing := [each for each in asked if each not in values]:
        raise Problem(400, f"there is no output {missing[0][:40]!r}; there are {', '.join(values)}")
    outputs = [_tensor(each, *values[each][:2]) | {"data": values[each][2]} for each in asked]
    return {"model_name": name, **({"id": request["id"]} if "id" in request else {}), "outputs": outputs}


def _check_rest(request: dict[str, Any]) -> None:
    """Problem 400 for an id or a list of outputs of another form."""
    outputs = request.get("outputs") or []
    named = isinstance(outputs, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in outputs
    )
    identity = request.get("id", "")
    if not named or not isinstance(identity, str) or len(identity) > ID_LENGTH:
        raise Problem(400, f"outputs is a list of objects with a name, id a text of {ID_LENGTH} characters at most")


def _decoded(text: object, place: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, TypeError, ValueError):
        raise Problem(400, f"{place or 'the image: '}not base64; {_accepted()}") from None


def _accepted() -> str:
    form = f'{{"name": "{INPUT}", "datatype": "BYTES", "shape": [N], "data": [base64 of a file, ...]}}'
    return f'send {{"inputs": [{form}]}}, N up to {MOST}'


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}
