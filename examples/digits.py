"""`make demo`: train AlexNet on scikit-learn's 1,797 handwritten digits, evaluate it, and let it read a few.

Everything is done by the commands that are printed; only the pictures to predict are written here, because the digits
are arrays and `alexnet predict` reads files.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from alexnet.data.images import decode, square
from alexnet.data.sources import open_source

# A mirrored digit is no digit, and a mix of two teaches nothing about either: of the recipe's changes one is kept.
AUGMENT = ["--augment", "resized_crop", "--crop-scale", "0.6", "--mixup", "0", "--cutmix", "0"]
TRAIN = ["train", "digits", "--input-size", "64", "--epochs", "12", *AUGMENT, "--evaluate-every", "3"]
SHOWN = 8  # held-out digits that are predicted
SIDE = 128  # pixels of their pictures; the digits have 8 x 8


def main() -> None:
    """Train, evaluate, predict."""
    run = Path(json.loads(alexnet(*TRAIN, "--json", capture=True))["run"])
    alexnet("evaluate", str(run), "digits")
    pictures = write_held_out_digits(run, run / "digits")
    alexnet("predict", str(run), *map(str, pictures), "--top", "1")
    print(f"\nThe run, with its weights, curves and every prediction: {run}")


def alexnet(*words: str, capture: bool = False) -> str:
    """Print a command and run it; what it answered, where that is captured."""
    print("\n$ alexnet", *words, flush=True)
    command = [sys.executable, "-m", "alexnet.cli", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # the command has said why
    return done.stdout or ""


def write_held_out_digits(run: Path, folder: Path) -> list[Path]:
    """Write a few digits that the run did not train on as PNG, named after what they show."""
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        held_out = {row["path"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    source = open_source("digits")
    rows = [row for row, sample in enumerate(source.samples) if sample.path in held_out][:SHOWN]
    folder.mkdir(exist_ok=True)
    files = []
    for row in rows:
        files.append(folder / f"{held_out[source.samples[row].path]}-{row}.png")
        Image.fromarray(square(decode(source.read(row)), SIDE)).save(files[-1])
    return files


if __name__ == "__main__":
    main()
