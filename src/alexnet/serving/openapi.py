"""The description of the server for other programs: OpenAPI 3.1, the same for as long as the server runs."""

from typing import Any

from alexnet import __version__
from alexnet.data.places import VIEWS
from alexnet.serving.limits import Limits
from alexnet.serving.process import ModelCard
from alexnet.serving.protocol import INPUT, MOST

TEXT, NUMBER, TRUTH = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
NULLABLE = {"type": ["string", "null"]}
CODES = {
    400: "An option or a body of another form.",
    401: "The token is missing or wrong.",
    403: "A foreign page asks.",
    404: "There is nothing of this name.",
    405: "Another method.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    415: "The body is of another type.",
    421: "Another host is asked.",
    422: "The image cannot be read: the reason is that of the command line.",
    503: "Too many ask, or the model is being opened; ask again after Retry-After.",
}


def document(name: str, card: ModelCard, limits: Limits) -> dict[str, Any]:
    """The whole description."""
    paths = {
        "/predict": {"post": _predict(card, limits)},
        f"/v2/models/{name}/infer": {"post": _infer()},
        f"/v2/models/{name}": {"get": _get("The model in the Open Inference Protocol", _object())},
        f"/v2/models/{name}/ready": {"get": _health("Whether the model answers")},
        "/v2": {"get": _get("The server in the Open Inference Protocol", _object())},
        "/v2/health/live": {"get": _health("Whether the server answers")},
        "/v2/health/ready": {"get": _health("Whether the model answers")},
        "/livez": {"get": _health("Whether the server answers")},
        "/readyz": {"get": _health("Whether the model answers")},
        "/metrics": {"get": _get("Counts for Prometheus", TEXT, "text/plain")},
        "/openapi.json": {"get": _get("This description", _object())},
        "/": {"get": _get("The page", TEXT, "text/html")},
    }
    schemas = {"Answer": _answer(), "Problem": _problem()}
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"alexnet serve: {name}", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": schemes},
        "security": [{}, {"token": []}],
    }


def _predict(card: ModelCard, limits: Limits) -> dict[str, Any]:
    views = [number for number in VIEWS if card.views.get(str(number)) is None]
    options = [
        _option("top", {"type": "integer", "minimum": 1, "default": 5}, "How many classes are told."),
        _option("views", {"type": "integer", "enum": views, "default": 1}, "Views that are averaged."),
    ]
    if card.coverage is None:
        share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        options.append(_option("coverage", share, "Also a set of classes that holds the right one with this chance."))
    image = {"schema": {"type": "string", "format": "binary", "maxLength": limits.max_bytes}}
    body = {"required": True, "content": {"image/*": image, "application/octet-stream": image}}
    told = _get("Name what is in an image", {"$ref": "#/components/schemas/Answer"})
    return told | {"parameters": options, "requestBody": body, "responses": _responses(told, *CODES)}


def _infer() -> dict[str, Any]:
    data = {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}, "minItems": 1, "maxItems": MOST}
    shape = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1}
    fixed = {"name": {"const": INPUT}, "datatype": {"const": "BYTES"}}
    tensor = {"type": "object", "properties": fixed | {"shape": shape, "data": data}}
    tensor["required"] = ["name", "datatype", "shape", "data"]
    inputs = {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1}
    request = {"type": "object", "properties": {"id": TEXT, "inputs": inputs}, "required": ["inputs"]}
    told = _get("Name what is in images, in the Open Inference Protocol", _object())
    body = {"required": True, "content": {"application/json": {"schema": request}}}
    return told | {"requestBody": body, "responses": _responses(told, *CODES)}


def _answer() -> dict[str, Any]:
    guess = {
        "type": "object",
        "properties": {"label": TEXT, "probability": NUMBER},
        "required": ["label", "probability"],
    }
    told = {
        "path": {"type": "null"},
        "predictions": {"type": "array", "items": guess},
        "error": {"type": "null"},
        "note": NULLABLE,
        "unknown": TRUTH,
        "unknown_score": NUMBER,
        "classes": {"type": "array", "items": TEXT},
    }
    return {"type": "object", "properties": told, "required": ["path", "predictions", "error", "note"]}


def _problem() -> dict[str, Any]:
    told = {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "error": TEXT}
    return {"type": "object", "properties": told, "required": list(told)}


def _get(summary: str, schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    done = {"description": "Done.", "content": {media: {"schema": schema}}}
    told = {"summary": summary, "responses": {"200": done}}
    return told | {"responses": _responses(told, 401, 403, 421)}


def _health(summary: str) -> dict[str, Any]:
    told = _get(summary, _object())
    state = {"description": "Not yet.", "content": {"application/json": {"schema": _object()}}}
    return told | {"responses": told["responses"] | {"503": state}, "security": [{}]}


def _responses(told: dict[str, Any], *codes: int) -> dict[str, Any]:
    """What is answered when all is well, and the refusals."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refusals = {
        str(code): {"description": CODES[code], "content": {"application/problem+json": schema}} for code in codes
    }
    return {"200": told["responses"]["200"], **refusals}


def _option(name: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def _object() -> dict[str, Any]:
    return {"type": "object"}
