"""alexnet check"""

from alexnet.cli.options import AsJson, Data, LabelColumn, Workers, with_column
from alexnet.cli.output import BAD_DATA, print_json, print_message
from alexnet.console import bar, print_lines
from alexnet.errors import UsageError


def check(
    data: Data,
    label_column: LabelColumn = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> int:
    """Read every image as training would and report problems; changes nothing."""
    from alexnet.data.check import check as check_source
    from alexnet.data.check import render
    from alexnet.data.sources import open_source
    from alexnet.data.store import is_store

    if is_store(data):
        raise UsageError(
            f"{data} is a packed store; check the images it was made from, or: alexnet pack {data} --verify"
        )
    with bar("reading") as progress:
        report = check_source(open_source(with_column(data, label_column)), workers=workers, progress=progress)
    if as_json:
        print_json(report.to_json())
    else:
        print_lines(*render(report))
    for reason in report.fatal:
        print_message(reason)
    return BAD_DATA if report.fatal else 0
