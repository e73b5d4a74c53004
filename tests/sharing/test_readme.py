"""A published model's page and records say what the run's files say."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import alexnet
from alexnet.sharing.files import config, preprocessor
from alexnet.sharing.material import Material, material
from alexnet.sharing.readme import readme

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def found(calibrated_run: "alexnet.Run") -> Material:
    return material(calibrated_run)


@pytest.fixture(scope="module")
def page(found: Material) -> str:
    return readme(found, "me/digits", "cc-by-4.0")


def test_metadata_is_read_back_by_the_hub(found: Material, page: str) -> None:
    data = hub.ModelCard(page).data
    assert (data.license, data.pipeline_tag, data.library_name) == ("cc-by-4.0", "image-classification", "alexnet")
    told = {each.metric_name: each.metric_value for each in data.eval_results}
    scores = found.scores
    assert told == pytest.approx(
        {
            "top-1 accuracy": scores["top1"],
            "macro-F1": scores["macro_f1"],
            "expected calibration error": scores["ece"],
        },
        abs=1e-6,
    )
    assert {(each.dataset_name, each.dataset_split) for each in data.eval_results} == {(found.data, scores["split"])}


def test_scores_come_with_their_interval_and_images(found: Material, page: str) -> None:
    low, high = found.scores["interval"]
    told = f"{100 * found.scores['top1']:.2f} % (95 % interval {100 * low:.2f} % to {100 * high:.2f} %)"
    assert f"| top-1 accuracy | {told} |" in page
    assert f"On {found.scores['images']} " in page
    assert "kept apart from training" in page


def test_it_is_used_in_three_lines_that_name_it(page: str) -> None:
    (lines,) = [block for block in page.split("```") if block.startswith("python\n")]
    assert [line for line in lines.splitlines()[1:] if line] == [
        "import alexnet",
        'model = alexnet.load("hub:me/digits")',
        'print(model.predict("photo.jpg"))',
    ]


def test_the_confusion_matrix_is_the_run_s(found: Material, page: str) -> None:
    for name, row in zip(found.card.class_names, found.scores["confusion"], strict=True):
        assert f"| **{name}** | " + " | ".join(str(count or "") for count in row) + " |" in page


def test_an_error_that_was_measured_before_the_calibration_is_not_told(found: Material) -> None:
    page = readme(replace(found, scores={**found.scores, "temperature": None}), "me/digits", "mit")
    told = {each.metric_name for each in hub.ModelCard(page).data.eval_results}
    assert told == {"top-1 accuracy", "macro-F1"}
    assert "| expected calibration error |" not in page


def test_calibration_is_told_as_measured(found: Material, page: str) -> None:
    calibration = found.card.calibration
    assert calibration is not None
    images = calibration.measured["images"]["val"]
    assert f"temperature {calibration.temperature:.3f}, found on {images} held-out images" in page
    assert "\n\nPictures of none of the classes" in page
    bare = replace(found, stored=found.stored._replace(card=replace(found.card, calibration=None)))
    assert "not calibrated" in readme(bare, "me/digits", "mit")


def test_a_licence_that_says_nothing_leaves_a_place_for_its_terms(found: Material, page: str) -> None:
    assert page.endswith("## Licence\n\ncc-by-4.0\n")
    assert "other: its name and its text, or a link to it, belong here." in readme(found, "me/digits", "other")


@pytest.mark.parametrize(("split", "told"), [("val", "chose among epochs"), ("train", "**was trained on**")])
def test_scores_of_other_parts_are_told_as_what_they_are(found: Material, split: str, told: str) -> None:
    assert told in readme(replace(found, scores={**found.scores, "split": split}), "me/digits", "mit")


def test_many_classes_get_pairs_in_the_place_of_a_matrix(found: Material) -> None:
    names = [f"class {number}" for number in range(120)]
    counts = [[3 * (row == column) for column in range(120)] for row in range(120)]
    counts[7][9] = 2
    card = replace(found.card, num_classes=120, class_names=names)
    many = replace(found, stored=found.stored._replace(card=card), scores={**found.scores, "confusion": counts})
    page = readme(many, "me/many", "mit")
    assert "| class 7 | class 9 | 2 |" in page
    assert "120 classes, listed in config.json" in page
    assert len(page) < 8000


def test_names_of_classes_are_no_markup(found: Material) -> None:
    evil = "a|b\n# <script>alert(1)</script> [x](http://y)"
    card = replace(found.card, class_names=[evil, *found.card.class_names[1:]])
    rows: list[dict[str, Any]] = [{**found.scores["per_class"][0], "label": evil}, *found.scores["per_class"][1:]]
    odd = replace(found, stored=found.stored._replace(card=card), scores={**found.scores, "per_class": rows})
    page = readme(odd, "me/digits", "mit")
    assert "<script>" not in page
    assert r"a\|b \# \<script\>" in page


def test_a_model_of_all_images_tells_its_cross_validation(calibrated_run: "alexnet.Run", tmp_path: Path) -> None:
    shutil.copytree(calibrated_run.folder, tmp_path / "all")
    told = {"folds": 5, "top1": [0.8, 0.9], "mean": 0.85, "standard_deviation": 0.0707}
    (tmp_path / "folds.json").write_text(json.dumps(told), encoding="utf-8")
    page = readme(material(tmp_path / "all"), "me/digits", "mit")
    assert "cross-validation of 5 parts" in page
    assert "85.00 % (standard deviation 7.07 points)" in page


def test_records_for_other_programs_follow_the_card(found: Material, calibrated_run: "alexnet.Run") -> None:
    names = found.card.class_names
    told = config(found.card, found.version)
    assert [told["id2label"][str(number)] for number in range(len(names))] == names
    assert told["label2id"] == {name: number for number, name in enumerate(names)}
    steps = calibrated_run.classifier.preprocessing
    record = preprocessor(steps)
    assert record["crop_size"] == {"height": steps.input_size, "width": steps.input_size}
    assert record["size"] == {"shortest_edge": steps.resize}
    assert [255 * value for value in record["image_mean"]] == pytest.approx(steps.mean)
    assert type(steps).from_json(record["alexnet"]) == steps
    assert "size" not in preprocessor(replace(steps, fit="pad"))
