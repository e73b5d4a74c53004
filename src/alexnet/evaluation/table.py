"""Write a CSV table of predictions, one row for each image."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from alexnet.files import write_csv

COLUMNS = ("path", "label", "prediction", "confidence", "label_probability", "correct")


def write_predictions(
    path: str | Path, names: Sequence[str], labels: Iterable[int], probabilities: Tensor, class_names: Sequence[str]
) -> None:
    """Write COLUMNS for each image, in the given order.

    names: paths, (N,). labels: true classes, (N,). probabilities: (N, K). confidence is the probability of the
    predicted class, label_probability that of the true class, correct 1 or 0.
    """
    confidences, predictions = (column.tolist() for column in probabilities.max(1))
    lines = []
    for row, (name, label) in enumerate(zip(names, map(int, labels), strict=True)):
        predicted, of_label = predictions[row], float(probabilities[row, label])
        numbers = (f"{confidences[row]:.6f}", f"{of_label:.6f}", int(predicted == label))
        lines.append((name, class_names[label], class_names[predicted], *numbers))
    write_csv(path, COLUMNS, lines)
