"""Train the weights that come with the package, and write their file: `modern` on Tiny ImageNet.

    python tools/pretrained.py --out runs/pretrained              # hours on two cores, minutes on a GPU
    python tools/pretrained.py --out runs/pretrained --file FILE  # a finished run: the file alone
    python tools/pretrained.py --out runs/pretrained --compare    # a finished run: whether it gives the package's file
    python tools/pretrained.py --out runs/short --epochs 1 --file short.safetensors    # to see that two give the same

An interrupted run goes on when the command is given again. On one machine the same command gives the same bytes.
Needs Tiny ImageNet, as `alexnet train tiny-imagenet` does, or the half of it.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src")]

import torch  # noqa: E402 - found through the path above
from torch import Tensor  # noqa: E402

from alexnet.errors import AlexNetError  # noqa: E402
from alexnet.runs.folder import RunFolder  # noqa: E402
from alexnet.training.recipes import recipe  # noqa: E402
from alexnet.training.run import resume, train  # noqa: E402
from alexnet.weights.card import Card, read, write  # noqa: E402
from alexnet.weights.pretrained import OWN_FILE  # noqa: E402

SETTINGS: dict[str, Any] = {
    "init": "none",
    "input_size": 128,
    "batch_size": 512,
    "epochs": 60,
    "lr": 0.025,
    "ema": 0.999,
    "dropout": 0.1,
    "mix_probability": 0.3,
    "crop_scale": 0.35,
    "evaluate_every": 60,
    "validation": 0.0,
}
"""What differs from the recipe `modern`; docs/log.md says what else was tried."""
LICENCE = (
    "These weights are the project's, under its licence. They were computed from Tiny ImageNet, a part of ImageNet, "
    "whose pictures are for non-commercial research and teaching; whether weights are bound by that is not settled."
)


def main(words: list[str]) -> int:
    """What is asked for; 1 where --compare finds another file."""
    given = parser().parse_args(words)
    try:
        run = given.out if finished(given.out) else trained(given.out, given.device, given.epochs)
        card, tensors = read(run / "weights" / "best.safetensors")
        card = with_facts(card, RunFolder(run).read_metrics(), run)
        if given.compare:
            return 0 if same(card, tensors) else 1
        write(given.file, {name: halved(name, tensor) for name, tensor in tensors.items()}, card)
        print(f"{given.file}: {given.file.stat().st_size / 1e6:.1f} MB, top-1 {card.training['top1']:.2%}")
    except AlexNetError as error:
        print(f"pretrained.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def finished(run: Path) -> bool:
    """Whether the run has its final figures."""
    return (run / "metrics.json").is_file()


def trained(run: Path, device: str, epochs: int) -> Path:
    """The run, begun or gone on with."""
    if (run / "config.json").is_file():
        return resume(run)
    return train("tiny-imagenet", recipe("modern", device=device, **{**SETTINGS, "epochs": epochs}), run)


def halved(name: str, tensor: Tensor) -> Tensor:
    """Weights of convolutions and dense layers in bfloat16, in which they are computed with; all else as it is."""
    return tensor.to(torch.bfloat16) if tensor.ndim > 1 else tensor


def with_facts(card: Card, metrics: dict[str, Any], run: Path) -> Card:
    """The card with what a user of the file asks about where it comes from."""
    config = RunFolder(run).read_config()
    environment = config.environment
    versions = {name: environment["versions"][name] for name in ("torch", "pillow") if name in environment["versions"]}
    facts = {
        "data": "Tiny ImageNet (Stanford CS231n), the first half of each class's training images: 200 classes, 64 px",
        "settings": {**SETTINGS, "epochs": config.recipe["epochs"]},
        "command": "python tools/pretrained.py",
        "top1": metrics["top1"],
        "top5": metrics["top5"],
        "measured_on": f"{sum(map(sum, metrics['confusion'])):,} validation images, one centre view",
        "machine": {"device": environment["device"], "processor": environment["processor"], **versions},
        "licence": LICENCE,
    }
    return dataclasses.replace(card, training={**card.training, **facts})


def same(card: Card, tensors: dict[str, Tensor]) -> bool:
    """Whether the package's file has these very tensors."""
    there = read(OWN_FILE).tensors
    other = [name for name in tensors if not torch.equal(halved(name, tensors[name]), there[name])]
    print("the same weights" if not other else f"other weights in {len(other)} tensors: {', '.join(other[:3])}")
    return not other


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, required=True, help="the run's folder")
    made.add_argument("--file", type=Path, default=OWN_FILE, help="the file to write (the package's)")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda")
    made.add_argument("--epochs", type=int, default=SETTINGS["epochs"], help="passes over the images (60)")
    made.add_argument(
        "--compare", action="store_true", help="write nothing; say whether the package's file is the same"
    )
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
