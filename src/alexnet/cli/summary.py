"""alexnet summary"""

from typing import Annotated

import typer

from alexnet.cli.options import AsJson
from alexnet.cli.output import print_json
from alexnet.console import print_lines


def summary(
    network: Annotated[
        str | None,
        typer.Argument(metavar="[NETWORK]", help="Name of the network.", show_default="each is described in a line"),
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.", show_default="the network's own")] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the input in pixels, 63 or more; cifar networks: 8 or more.", show_default="the network's own"
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print a network's layers, parameters and multiply-accumulates; without a name, list all networks."""
    if network is None:
        return _list_networks(as_json)
    from alexnet.networks.summary import notes, summarize, table

    answer = summarize(network, classes, input_size)
    if as_json:
        print_json(answer.to_json())
    else:
        print_lines(table(answer), *notes(answer))
    return 0


def _list_networks(as_json: bool) -> int:
    from alexnet.networks import describe_networks

    described = describe_networks()
    if as_json:
        print_json(list(described))
    else:
        width = max(map(len, described))
        print(*(f"{name:<{width}}  {description}" for name, description in described.items()), sep="\n")
    return 0
