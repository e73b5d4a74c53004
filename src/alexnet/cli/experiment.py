"""alexnet experiment"""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet.cli.options import AsJson
from alexnet.cli.output import print_json


def experiment(
    name: Annotated[
        str, typer.Argument(metavar="NAME|list", help="Name of the experiment, or list.", show_default=False)
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: results within ten minutes.")] = False,
    seeds: Annotated[int | None, typer.Option(help="Runs per arm.", show_default="3; 1 or 2 with --quick")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the experiment.", show_default="runs/experiment-NAME, with -quick for --quick"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Test a claim of the paper or the article; the same command resumes it."""
    from alexnet.experiments import catalog

    if name == "list":
        return _list_experiments(catalog.listed(), as_json)
    chosen = catalog.experiment(name, quick)
    from alexnet.experiments.run import run

    flags = [*(["--quick"] if quick else []), *(["--seeds", str(seeds)] if seeds else [])]
    command = " ".join(["alexnet experiment", name, *flags, *(["--out", shlex.quote(str(out))] if out else [])])
    place = out or Path("runs") / f"experiment-{name}{'-quick' if quick else ''}"
    results = run(chosen, place, chosen.seeds if seeds is None else seeds, command, quick)
    if as_json:
        print_json({"folder": str(place), **results})
    else:
        print(*(study["sentence"] for study in results["studies"]), f"Published: {results['published']}", sep="\n")
        print(place / "report.html")
    return 0


def _list_experiments(listed: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print_json(listed)
    else:
        from alexnet.experiments.experiment import duration

        for each in listed:
            whole, quick = (
                f"{each[f'{kind}runs']} runs, {duration(60 * each[f'{kind}minutes'])}" for kind in ("", "quick_")
            )
            print(f"{each['name']}: {each['question']}")
            print(f"    {', '.join(each['data'])}; {whole}; --quick: {quick}")
        print("Times are about those on one core of a server processor.")
    return 0
