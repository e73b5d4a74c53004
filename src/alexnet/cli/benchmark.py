"""alexnet benchmark"""

from dataclasses import replace
from typing import Annotated

import typer

from alexnet.cli.options import AsJson
from alexnet.cli.output import INTERRUPTED, print_json
from alexnet.console import print_lines


def benchmark(
    subject: Annotated[
        str, typer.Argument(metavar="[SUBJECT]", help="ops, train, data, evaluate, predict, compare or all.")
    ] = "all",
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    repeats: Annotated[int, typer.Option(help="Rounds; each times every contender once.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="predict: time this run, weights file or export instead; may be repeated.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Check only that it runs: small batches, once; the figures mean nothing."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Measure our speed beside this machine's ceilings and stock frameworks; all of it takes half an hour.

    Each row is printed as soon as it is measured. Ctrl-C ends with the rows measured so far, with --json too.
    """
    from alexnet.bench import run
    from alexnet.bench.measure import Options
    from alexnet.bench.table import Row, table

    options = Options.quick(device) if quick else Options(batch_size, repeats, device)
    options = replace(options, models=tuple(model or ()))
    rows: list[Row] = []
    code = 0
    try:
        for row in run.benchmark(subject, options):
            if not as_json:
                print_lines(table([row], above=rows[-1] if rows else None))
            rows.append(row)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if as_json:
        print_json(run.to_json(rows, options, complete=code == 0))
    return code
