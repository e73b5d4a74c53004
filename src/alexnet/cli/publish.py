"""alexnet publish"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet.cli.options import AsJson
from alexnet.cli.output import print_json, print_message
from alexnet.console import print_lines

if TYPE_CHECKING:
    from alexnet.sharing.run import Published


def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model's name on the hub.", show_default=False)],
    licence: Annotated[
        str,
        typer.Option(
            "--license",
            "--licence",
            metavar="LICENCE",
            help="What others may do with the weights: apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0 ... (SPDX), or other.",
            show_default=False,
        ),
    ],
    public: Annotated[bool, typer.Option("--public", help="For everyone; else for the owner alone.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the files into this folder, and send nothing.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Publish a run on a model hub: weights, records for other programs, and a page with its scores; no photos."""
    from alexnet.sharing.licences import UNSTATED
    from alexnet.sharing.run import publish as send

    done = send(run, name, licence, public, dry_run)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done)
    if done.licence in UNSTATED:
        where = "that this makes on the hub" if done.address is None else f"at {done.address}"
        print_message(
            f"licence {done.licence!r} says nothing by itself: put its name and its text, or a link, under 'Licence' "
            f"in the README.md {where}, and into its head as license_name and license_link"
        )
    return 0


def _print(done: "Published") -> None:
    """The name to load it by, where it is, who sees it, and what was sent."""
    files = ", ".join(f"{name} ({size / 1e3:,.1f} kB)" for name, size in done.sizes.items())
    if done.folder is not None:
        print_lines(done.folder, f"nothing was sent; to be sent as {done.name}: {files}")
        return
    seen = "public" if done.public else "private: only its owner sees it"
    print_lines(done.name, f"{done.address} ({seen}; licence {done.licence})", files)
