"""alexnet serve"""

from functools import partial
from typing import Annotated

import typer

from alexnet.cli.options import AnyModel, Device
from alexnet.cli.output import print_message


def serve(
    model: AnyModel,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0: all of this machine, which needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ALEXNET_TOKEN",
            help="What clients must send, as 'Authorization: Bearer TOKEN'; others see it in the list of processes "
            "unless the variable holds it.",
            show_default=False,
        ),
    ] = None,
    max_bytes: Annotated[str, typer.Option(metavar="SIZE", help="The longest body, such as 500k or 10M.")] = "10M",
    max_pixels: Annotated[
        str, typer.Option(metavar="COUNT", help="Pixels of the largest image, width x height.")
    ] = "50M",
    queue: Annotated[int, typer.Option(help="Requests that are answered or wait; others are refused.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds for a body to arrive, and for an answer.")] = 10.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of this server, repeatable; needed behind a proxy."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Pages elsewhere that may ask, repeatable: https://example.org"),
    ] = None,
    device: Device = "auto",
) -> int:
    """Answer images over HTTP: a page for people, an API for programs. Ends with Ctrl-C or SIGTERM."""
    from alexnet.serving.limits import Limits, amount
    from alexnet.serving.run import Order, is_loopback, serve

    limits = Limits(amount("--max-bytes", max_bytes), amount("--max-pixels", max_pixels), queue, timeout)
    names, origins = allow_host or [], allow_origin or []
    order = Order(str(model), host, port, device, token or None, names, origins, limits)
    serve(order, partial(_print, alone=is_loopback(host)))
    print_message("every request that was accepted is answered; ended")
    return 0


def _print(addresses: list[str], alone: bool) -> None:
    """Where to open it, first for this machine. alone: whether no other machine reaches it."""
    here, *others = addresses
    print(here, flush=True)
    if not alone:
        where = f" at {' or '.join(others)}" if others else ""
        print_message(f"open to the network{where}: whoever has the token may ask; it travels as it is, without TLS")
    print_message("ready; Ctrl-C ends")
