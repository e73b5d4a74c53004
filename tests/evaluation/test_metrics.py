"""Each metric equals hand computation, scikit-learn and published values."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import classification_report, confusion_matrix, top_k_accuracy_score

from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.evaluation.metrics import expected_calibration_error, metrics, most_confused, wilson_interval

# Six images of three classes; predictions 0, 0, 1, 1, 2, 0.
HAND = torch.tensor(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]]
)
LABELS = torch.tensor([0, 0, 0, 1, 2, 2])


def random_case(images: int = 500, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are correct about half of the time; class 7 is predicted, but never a label."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes - 1, images)
    labels[labels == 7] = classes - 1
    logits = random.normal(size=(images, classes)) + 2 * np.eye(classes)[labels]
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32), labels


def test_metrics_equal_hand_computation() -> None:
    found = metrics(HAND, LABELS, ["a", "b", "c"])
    assert found["images"] == 6
    assert found["top1"] == pytest.approx(4 / 6)
    assert found["confusion"] == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert [row["label"] for row in found["per_class"]] == ["a", "b", "c"]
    assert [row["images"] for row in found["per_class"]] == [3, 1, 2]
    assert [row["precision"] for row in found["per_class"]] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [row["recall"] for row in found["per_class"]] == pytest.approx([2 / 3, 1, 1 / 2])
    assert [row["f1"] for row in found["per_class"]] == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert found["macro_recall"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_calibration_error_by_hand() -> None:
    # Confidences .8 right | .6 right, .6 right (one bin of 15: .6 to .667) | .7 wrong | .9 right | .5 wrong.
    by_hand = (abs(1 - 0.8) + 2 * abs(1 - 0.6) + abs(0 - 0.7) + abs(1 - 0.9) + abs(0 - 0.5)) / 6
    nudged = HAND + 1e-6 * HAND.argmax(1, keepdim=True).eq(torch.arange(3))  # off the edges between bins
    found = expected_calibration_error(nudged, LABELS)
    assert found == pytest.approx(by_hand, abs=1e-5)


def test_confidence_equal_to_accuracy_has_no_calibration_error() -> None:
    sure = torch.tensor([[0.75, 0.25]] * 4)
    assert expected_calibration_error(sure, torch.tensor([0, 0, 0, 1])) == pytest.approx(0)
    assert expected_calibration_error(sure, torch.tensor([0, 1, 1, 1])) == pytest.approx(0.5)


def test_counts_and_scores_equal_scikit_learn() -> None:
    probabilities, labels = random_case()
    found = metrics(probabilities, labels)
    answers = probabilities.argmax(1)
    report = classification_report(labels, answers, labels=range(12), output_dict=True, zero_division=0)
    for index, row in enumerate(found["per_class"]):
        wanted = report[str(index)]
        assert row["images"] == wanted["support"]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(
            [wanted["precision"], wanted["recall"], wanted["f1-score"]]
        )
    assert found["confusion"] == confusion_matrix(labels, answers, labels=range(12)).tolist()
    assert found["top1"] == pytest.approx((answers == labels).mean())
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=range(12)))


def test_macro_averages_are_over_classes_that_occur_in_the_labels() -> None:
    probabilities, labels = random_case()
    assert 7 not in labels
    assert 7 in probabilities.argmax(1)
    report = classification_report(
        labels, probabilities.argmax(1), labels=np.unique(labels), output_dict=True, zero_division=0
    )["macro avg"]
    found = metrics(probabilities, labels)
    assert found["macro_f1"] == pytest.approx(report["f1-score"])
    assert found["macro_precision"] == pytest.approx(report["precision"])
    assert found["macro_recall"] == pytest.approx(report["recall"])


def test_top5_of_at_most_five_classes_is_one() -> None:
    assert metrics(HAND, LABELS)["top5"] == 1.0


def test_top1_and_the_diagonal_agree_when_all_classes_are_equally_probable() -> None:
    found = metrics(torch.full((10, 10), 0.1), torch.arange(10))
    assert found["top1"] == pytest.approx(0.1)
    assert np.trace(found["confusion"]) == 1


@pytest.mark.slow  # torchmetrics imports torchvision and with it torch._dynamo, seconds
def test_scores_equal_torchmetrics_to_the_last_bit_and_its_calibration_error_to_float32() -> None:
    import torchmetrics.functional.classification as torchmetrics

    probabilities, labels = (torch.from_numpy(each) for each in random_case(2000, 101))
    probabilities[:30] = torch.eye(101)[:30]  # confidence 1
    found, answers = metrics(probabilities, labels), probabilities.argmax(1)
    for key, function in (
        ("precision", torchmetrics.multiclass_precision),
        ("recall", torchmetrics.multiclass_recall),
        ("f1", torchmetrics.multiclass_f1_score),
    ):
        wanted = function(answers, labels, num_classes=101, average=None)
        assert [row[key] for row in found["per_class"]] == wanted.tolist()
    assert found["confusion"] == torchmetrics.multiclass_confusion_matrix(answers, labels, num_classes=101).tolist()
    wanted = torchmetrics.multiclass_calibration_error(probabilities, labels, num_classes=101, n_bins=15)
    assert found["ece"] == pytest.approx(wanted.item(), abs=1e-6)


def test_pairs_most_often_confused_come_first_and_correct_answers_are_none() -> None:
    pairs = most_confused([[9, 0, 2], [3, 0, 1], [2, 0, 7]], ["a", "b", "c"])
    assert pairs == [
        {"label": "b", "prediction": "a", "images": 3},
        {"label": "a", "prediction": "c", "images": 2},
        {"label": "c", "prediction": "a", "images": 2},
        {"label": "b", "prediction": "c", "images": 1},
    ]
    assert most_confused([[5, 0], [0, 5]], ["a", "b"]) == []
    assert len(most_confused(np.ones((101, 101), int), list(map(str, range(101))))) == 10
    assert metrics(HAND, LABELS, ["a", "b", "c"])["most_confused"][0] == {"label": "a", "prediction": "b", "images": 1}


@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (1, 1), (286, 340), (28600, 50000)])
def test_the_interval_equals_scipys_and_stays_within_0_and_1(right: int, images: int) -> None:
    wanted = binomtest(right, images).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(right, images)
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0 <= low <= right / images <= high <= 1


def test_the_interval_of_81_of_263_equals_newcombes_table() -> None:
    # Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_interval_of_an_evaluation_is_of_its_top1() -> None:
    assert metrics(HAND, LABELS)["interval"] == list(wilson_interval(4, 6))


def test_a_thousand_classes_of_which_few_occur() -> None:
    probabilities = torch.softmax(torch.randn(20, 1000, generator=torch.Generator().manual_seed(0)), 1)
    found = metrics(probabilities, torch.arange(20))
    assert len(found["per_class"]) == 1000
    assert 0 <= found["macro_f1"] <= 1


def test_no_images_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no images"):
        metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_probabilities_that_are_not_finite_are_counted_and_refused(value: float) -> None:
    broken = HAND.clone()
    broken[2, 1] = value
    with pytest.raises(AlexNetError, match="1 of 6 images"):
        metrics(broken, LABELS)


def test_logits_are_refused() -> None:
    with pytest.raises(UsageError, match="softmax"):
        metrics(HAND * 3 - 1, LABELS)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="from 0 to 3"):
        metrics(HAND, torch.tensor([0, 0, 0, 1, 2, 3]))


@pytest.mark.parametrize(("probabilities", "labels"), [(HAND, LABELS[:5]), (HAND[0], LABELS), (HAND, HAND)])
def test_mismatched_shapes_are_refused(probabilities: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"\(images, classes\)"):
        metrics(probabilities, labels)


def test_a_wrong_number_of_class_names_is_refused() -> None:
    with pytest.raises(UsageError, match="2 class names for 3"):
        metrics(HAND, LABELS, ["a", "b"])


def test_read_only_arrays_are_accepted() -> None:
    labels = LABELS.numpy().copy()
    labels.flags.writeable = False
    assert metrics(HAND.numpy(), labels) == metrics(HAND, LABELS)
