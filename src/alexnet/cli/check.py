"""alexnet check"""

from alexnet.cli.options import AsJson, Data, Fit, ValueRange, Workers, asked_range
from alexnet.cli.output import BAD_DATA, print_json, print_message
from alexnet.console import bar, print_lines
from alexnet.errors import UsageError


def check(
    data: Data,
    fit: Fit = None,
    value_range: ValueRange = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Read every image as training would and report problems; changes nothing."""
    from alexnet.data.check import check as check_source
    from alexnet.data.check import render
    from alexnet.data.sources import open_source
    from alexnet.data.store import form_of, is_store

    if is_store(data):
        raise UsageError(
            f"{data} is a packed store; check the images it was made from, or: alexnet pack {data} --verify"
        )
    with bar("reading") as progress:
        source = open_source(data)
        form = form_of(source, None, fit, asked_range(value_range), workers, progress)
        report = check_source(source, workers=workers, progress=progress, form=form)
    if as_json:
        print_json(report.to_json())
    else:
        print_lines(*render(report))
    for reason in report.fatal:
        print_message(reason)
    return BAD_DATA if report.fatal else 0
