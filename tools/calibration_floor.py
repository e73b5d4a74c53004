"""The expected calibration error that perfectly calibrated answers would show, for the confidences of an evaluation.

    python tools/calibration_floor.py runs/flowers/evaluation-test-1/predictions.csv

The error of few images is not 0 even where answers are right exactly as often as they state: bins of few
images differ by chance. Prints the error itself, and mean, 5 % and 95 % of a thousand draws of perfect answers.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch

from alexnet.evaluation.metrics import expected_calibration_error

DRAWS = 1000


def main(table: Path) -> dict[str, float]:
    """The figures for a predictions.csv of `alexnet evaluate`."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    confidences = torch.tensor([float(row["confidence"]) for row in rows])
    chances = torch.stack([confidences, 1 - confidences], 1)  # right, and anything else

    def error(right: torch.Tensor) -> float:
        # Class 0 counts as predicted even where its probability is below a half.
        told = torch.where((confidences < 0.5)[:, None], chances * torch.tensor([1.0, 0.0]), chances)
        return expected_calibration_error(told, (~right).long())

    random = torch.Generator().manual_seed(0)
    drawn = [error(torch.rand(len(rows), generator=random) < confidences) for _ in range(DRAWS)]
    found = error(torch.tensor([row["correct"] == "1" for row in rows]))
    low, high = np.quantile(drawn, [0.05, 0.95])
    return {"error": found, "perfect": float(np.mean(drawn)), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, value in main(Path(sys.argv[1])).items():
        print(f"{name:8s} {value:.2%}")
