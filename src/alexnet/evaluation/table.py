"""The table of every prediction: what was shown, what was answered, how sure the network was."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from alexnet.files import write_csv

COLUMNS = ("path", "label", "prediction", "confidence", "label_probability", "correct")


def write_predictions(
    path: str | Path, names: Sequence[str], labels: Iterable[int], probabilities: Tensor, class_names: Sequence[str]
) -> None:
    """Write a CSV with a line for each image, in the order given.

    names: the images' paths, (N,). labels: their classes, (N,). probabilities: (N, K). confidence is the probability of
    the prediction, label_probability that of the true class, correct 1 or 0.
    """
    confidences, answers = (column.tolist() for column in probabilities.max(1))
    lines = []
    for row, (name, label) in enumerate(zip(names, map(int, labels), strict=True)):
        answer, of_label = answers[row], float(probabilities[row, label])
        numbers = (f"{confidences[row]:.6f}", f"{of_label:.6f}", int(answer == label))
        lines.append((name, class_names[label], class_names[answer], *numbers))
    write_csv(path, COLUMNS, lines)
