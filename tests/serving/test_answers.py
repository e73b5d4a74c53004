"""A server answers as the command line does, and speaks the protocols that it says it speaks."""

import base64
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet import cli
from served import Served, encoded


def predicted(model: Path, content: bytes, folder: Path, *options: str) -> dict[str, Any]:
    """What `alexnet predict --json` says of a file."""
    path, out = folder / "asked", io.StringIO()
    path.write_bytes(content)
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        cli.main(["predict", str(model), str(path), "--json", *options])
    (answer,) = json.loads(out.getvalue())
    return answer | {"path": None}


def close(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Equal but for rounding: an export opened for few images computes in another order."""
    assert found.keys() == wanted.keys()
    chances = [{each["label"]: each["probability"] for each in one["predictions"]} for one in (found, wanted)]
    assert list(chances[0]) == list(chances[1])
    assert chances[0] == pytest.approx(chances[1], abs=1e-5)
    assert found.get("unknown_score") == pytest.approx(wanted.get("unknown_score"), rel=1e-4)
    rest = [{k: v for k, v in one.items() if k not in ("predictions", "unknown_score")} for one in (found, wanted)]
    assert rest[0] == rest[1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_answer_is_that_of_predict(server: Served, export: Path, photo: bytes, tmp_path: Path, kind: str) -> None:
    content = encoded(np.asarray(Image.open(io.BytesIO(photo))), kind)
    answer = server.predict(content, "?top=2")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    close(answer.json(), predicted(export, content, tmp_path, "--top", "2"))
    assert {"unknown", "unknown_score"} <= answer.json().keys()


def test_notes_and_refusals_are_those_of_predict(server: Served, export: Path, photo: bytes, tmp_path: Path) -> None:
    blank = encoded(np.full((20, 20, 3), 90, np.uint8))
    assert server.predict(blank).json()["note"] == predicted(export, blank, tmp_path)["note"] == "blank, of one colour"
    for content in (photo[:300], b"", b"%PDF-1.7 " * 9, b"GIF8" * 9, b"words" * 40):
        answer = server.predict(content)
        assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
        told = answer.json()
        assert told["detail"] == told["error"] == predicted(export, content, tmp_path)["error"]
        assert (told["status"], told["type"]) == (422, "about:blank")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("top=0", "top is 0"),
        ("top=many", "top is 'many'"),
        ("views=3", "views is 3"),
        ("views=10", "views is 10, and this model takes the centre alone"),
        ("coverage=2", "coverage is 2"),
        ("coverage=nan", "coverage is 'nan'"),
        ("coverage=.9", "this model keeps no scores for sets"),
        ("tops=1", "option 'tops' is unknown"),
        ("top=1&top=2", "option 'top' is unknown or given twice"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(
    server: Served, export: Path, photo: bytes, query: str, told: str
) -> None:
    answer = server.predict(photo, f"?{query}")
    assert answer.status == 400
    assert answer.json()["detail"].startswith(told)
    assert str(export) not in answer.json()["detail"]


def test_curl_s_own_type_and_none_are_taken(server: Served, photo: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/octet-stream", "image/jpeg; q=1", ""):
        assert server.predict(photo, Content_Type=kind).status == 200


def test_many_at_once_get_each_their_own_answer(server: Served) -> None:
    from concurrent.futures import ThreadPoolExecutor

    draw = np.random.default_rng(1)
    photos = [encoded(draw.integers(0, 256, (24, 24, 3), np.uint8)) for _ in range(24)]
    alone = [server.predict(photo).json() for photo in photos]
    assert len({json.dumps(answer) for answer in alone}) == len(photos)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda photo: server.predict(photo).json(), photos)) == alone


def test_health_is_told_in_both_dialects(server: Served) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/small-model/ready"):
        assert server.ask("GET", path).status == 200
    assert server.ask("HEAD", "/readyz").status == 200


def test_the_open_inference_protocol(server: Served, photo: bytes) -> None:
    told = server.ask("GET", "/v2/models/small-model").json()
    names = told["parameters"]["class_names"]
    assert [each["name"] for each in told["outputs"]] == ["probabilities", "label", "unknown"]
    data = [base64.b64encode(photo).decode()] * 2
    request = {"id": "7", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": data}]}
    answer = infer(server, request)
    tensors = {each["name"]: each for each in answer["outputs"]}
    alone = server.predict(photo, f"?top={len(names)}").json()
    chances = dict(zip(names, tensors["probabilities"]["data"][len(names) :], strict=True))
    assert chances == pytest.approx({each["label"]: each["probability"] for each in alone["predictions"]}, abs=1e-6)
    assert tensors["probabilities"]["shape"] == [2, len(names)]
    assert tensors["label"]["data"] == [alone["predictions"][0]["label"]] * 2
    assert tensors["unknown"]["data"][1] == pytest.approx(alone["unknown_score"])
    assert (answer["model_name"], answer["id"]) == ("small-model", "7")
    only = infer(server, request | {"outputs": [{"name": "label"}]})
    assert [each["name"] for each in only["outputs"]] == ["label"]


def infer(server: Served, request: Any) -> Any:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return server.ask("POST", "/v2/models/small-model/infer", body, Content_Type="application/json").json()


def test_requests_that_are_none_are_told_so(server: Served, photo: bytes) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(photo).decode()]}
    wrong = [
        b"",
        b"[" * 5000,
        b"null",
        {"inputs": []},
        {"inputs": [tensor, tensor]},
        {"inputs": [tensor | {"shape": [2]}]},
        {"inputs": [tensor | {"datatype": "FP32"}]},
        {"inputs": [tensor | {"data": ["&"]}]},
        {"inputs": [tensor | {"data": [5]}]},
        {"inputs": [tensor], "outputs": [{"name": "logits"}]},
        {"inputs": [tensor], "outputs": [1]},
        {"inputs": [tensor], "id": 5},
    ]
    for request in wrong:
        assert infer(server, request)["status"] == 400, request
    assert infer(server, {"inputs": [tensor | {"data": ["AAAA"]}]})["status"] == 422
    many = tensor | {"shape": [17], "data": tensor["data"] * 17}
    assert infer(server, {"inputs": [many]})["detail"].startswith("17 images in one request; send 16 at most")
    assert server.ask("GET", "/v2/models/other").status == 404
    assert server.ask("POST", "/v2/models/small-model/infer", b"{}", Content_Type="text/plain").status == 415


def test_of_several_images_the_refused_one_is_told_by_its_number(server: Served, photo: bytes) -> None:
    good = base64.b64encode(photo).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [3], "data": [good, "AAAA", good]}
    assert infer(server, {"inputs": [tensor]})["detail"].startswith("image 2 of 3: not an image")
    tensor["data"] = [good, good, "&"]
    assert infer(server, {"inputs": [tensor]})["detail"].startswith("image 3 of 3: not base64; send ")
    alone = infer(server, {"inputs": [tensor | {"shape": [1], "data": ["AAAA"]}]})
    assert alone["detail"].startswith("not an image")


def test_openapi_describes_every_route(server: Served) -> None:
    told = server.ask("GET", "/openapi.json").json()
    for path, methods in told["paths"].items():
        for method in methods:
            answer = server.ask(method.upper(), path)
            assert str(answer.status) in methods[method]["responses"], (path, answer)
            assert answer.status not in (404, 405)
    assert told["components"]["schemas"]["Answer"]["required"] == ["path", "predictions", "error", "note"]


def test_metrics_count_answers_and_refusals(server: Served, photo: bytes) -> None:
    name = 'alexnet_requests_total{route="predict",status="200"}'
    server.predict(photo)
    before = server.value(name)
    server.predict(photo)
    assert server.value(name) == before + 1
    server.ask("GET", "/a/secret/name.jpg")
    text = server.ask("GET", "/metrics").body.decode()
    assert 'alexnet_requests_total{route="other",status="404"}' in text
    assert "secret" not in text
    assert "alexnet_answer_seconds_bucket" in text


def test_what_is_not_there_is_told(server: Served) -> None:
    assert server.ask("GET", "/nothing").json()["status"] == 404
    answer = server.ask("GET", "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.slow
def test_a_run_answers_with_views_and_sets(start: Any, calibrated_run: "alexnet.Run", photo: bytes) -> None:
    served = start(calibrated_run.folder)
    (wanted,) = calibrated_run.classifier.predict(io.BytesIO(photo), coverage=0.9)
    answer = served.predict(photo, "?coverage=.9").json()
    close(answer, wanted.to_json())
    (wanted,) = calibrated_run.classifier.predict(io.BytesIO(photo), views=10)
    close(served.predict(photo, "?views=10").json(), wanted.to_json())
    assert served.end() == 0
