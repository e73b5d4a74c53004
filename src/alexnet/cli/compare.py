"""alexnet compare"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet.cli.options import AsJson, Device
from alexnet.cli.output import BAD_DATA, print_json, print_message
from alexnet.console import bar, print_lines, table
from alexnet.errors import UsageError

if TYPE_CHECKING:
    from alexnet.inference.compare import Compared, Pairs
    from alexnet.inference.perceptual import PerceptualDistance

NAMED = 3  # images without a counterpart that are named in the message


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="An image, or a folder of images.", show_default=False)],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="Another image, or a folder of the same names.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A run folder, a weights file or published weights whose maps are compared.",
            show_default="the package's own weights",
        ),
    ] = None,
    linear: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Learned channel weights: lpips' weights/v0.1/alex.pth, or that file converted.",
            show_default="every channel counts 1",
        ),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map", metavar="OUT.png", help="Write a picture of where two images differ.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Tell how different images look to a network (LPIPS): two images, or two folders paired by name.

    0 is equal; images are compared at their own size, which must be the same. Exit code 3 if any pair cannot be.
    """
    from alexnet.inference.compare import compared, paired, summary
    from alexnet.inference.perceptual import PerceptualDistance
    from alexnet.weights.pretrained import OWN

    found = paired(a, b)
    if map_file is not None:
        _check_map(map_file, a)
    distance = PerceptualDistance(model or OWN, linear, device)
    _tell_unpaired(found, a, b)
    with bar("comparing") as progress:
        answers = list(compared(distance, found.pairs, progress))
    if map_file is not None and answers[0].distance is not None:
        _draw(map_file, distance, found)
    whole = {"network": distance.network_name, "layers": distance.layers, "weighted": distance.weighted}
    if as_json:
        unpaired = {"only_a": found.only_a, "only_b": found.only_b}
        print_json({**whole, **summary(answers), **unpaired, "images": [each.to_json() for each in answers]})
    else:
        _print(answers, summary(answers), alone=not a.is_dir())
    failed = [each for each in answers if each.error]
    for each in failed:
        print_message(each.error)
    return BAD_DATA if failed else 0


def _check_map(path: Path, a: Path) -> None:
    if a.is_dir():
        raise UsageError(f"--map {path} goes with two images; name two instead of folders")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--map {path} does not end in .png; rename it")


def _tell_unpaired(found: "Pairs", a: Path, b: Path) -> None:
    for folder, names in ((a, found.only_a), (b, found.only_b)):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            print_message(f"only in {folder}, not compared: {', '.join(names[:NAMED])}{more}")


def _draw(path: Path, distance: "PerceptualDistance", found: "Pairs") -> None:
    from alexnet.inference.compare import read_pair
    from alexnet.inference.perceptual import pixels_tensor
    from alexnet.plots.canvas import save
    from alexnet.plots.difference import difference_figure

    pair = found.pairs[0]
    images = read_pair(pair)
    one, other = (pixels_tensor(each) for each in images)
    differences = distance.maps(one, other)[0].cpu().numpy()
    save(difference_figure(*images, differences, (pair.a.name, pair.b.name)), path)
    print_message(f"the map is in {path}")


def _print(answers: Sequence["Compared"], whole: dict[str, Any], alone: bool) -> None:
    measured = [each for each in answers if each.distance is not None]
    if alone:
        print_lines(*(f"{each.distance:.6f}" for each in measured))
    elif measured:
        shown = table("image", "distance")
        for each in measured:
            shown.add_row(each.name, f"{each.distance:.6f}")
        print_lines(shown, f"{whole['pairs']} pairs: mean {whole['mean']:.6f}, median {whole['median']:.6f}")
