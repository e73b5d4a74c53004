"""The command `alexnet`: parse, call, print.

Heavy modules are imported inside the command that needs them, so that `alexnet --help` is instant. A command returns
its exit code; `main` turns every error into one line and the exit code of `alexnet.errors`. Results go to standard
output; progress, warnings and errors go to standard error.
"""

import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Annotated

import typer

from alexnet import __version__
from alexnet.cli import (
    benchmark,
    calibrate,
    check,
    compare,
    compress,
    demo,
    embed,
    evaluate,
    experiment,
    explain,
    export,
    pack,
    predict,
    pretrain,
    publish,
    serve,
    summary,
    train,
    weights,
)
from alexnet.cli.output import INTERRUPTED, explained, print_message, show_warning
from alexnet.console import show_log, show_progress
from alexnet.errors import Diverged, ElsewhereFailed, FileError, UsageError
from alexnet.memory import reuse_memory
from alexnet.processes.place import this_process

TOGETHER = ("train", "evaluate", "predict")
"""Commands that several processes, started by torchrun or srun, work on together."""

app = typer.Typer(
    help="Train, understand and use AlexNet.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Errors become one line on standard error; --debug adds the traceback.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments
    first = _is_first()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no text
    try:
        with _one_line_warnings(), _talking() if first else _silent(), _sigterm_as_ctrl_c():
            code = app([word for word in arguments if word != "--debug"], prog_name="alexnet", standalone_mode=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = explained(error)
        if first or not _is_told(error, code):
            print_message(message if first else f"process {this_process().rank}: {message}")
        return code
    if code == INTERRUPTED and first:  # typer turns KeyboardInterrupt into this code
        print_message("interrupted")
    return int(code or 0)


def _is_first() -> bool:
    """Whether this process, of several that may work together, is the one that talks."""
    try:
        return this_process().first
    except UsageError:  # which every command raises again
        return True


def _is_told(error: Exception, code: int) -> bool:
    """Whether the first process has the same error, and says it: of arguments, files they name, loss, interruption."""
    return code in (2, INTERRUPTED) or isinstance(error, Diverged | ElsewhereFailed | FileError)


@contextmanager
def _talking() -> Iterator[None]:
    """Show messages and progress."""
    with show_log(), show_progress():
        yield


@contextmanager
def _silent() -> Iterator[None]:
    """Show nothing but errors: another process of the run talks."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show Python warnings as our one-line messages."""
    before, warnings.showwarning = warnings.showwarning, show_warning
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which `kill` and batch systems send, end a command as Ctrl-C does, so that cleaning up runs."""
    sigterm = getattr(signal, "SIGTERM", None)
    if sigterm is None or threading.current_thread() is not threading.main_thread():  # no other may handle signals
        yield
        return
    before = signal.signal(sigterm, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(sigterm, before)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"alexnet {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error; goes with any command.")
    ] = False,
) -> None:
    """Options before the command. `main` removes --debug before parsing; it is declared here for --help."""
    _refuse_several(context.invoked_subcommand)
    reuse_memory()


def _refuse_several(command: str | None) -> None:
    """UsageError where several processes were started for a command that works in one.

    The first of SLURM's works alone: a batch script without `srun` has its variables, too.
    """
    here = this_process()
    if here.ranks == 1 or command in TOGETHER:
        return
    if here.rank or "RANK" in os.environ:
        raise UsageError(
            f"alexnet {command} works in one process, and {here.ranks} were started; start it without torchrun or srun"
        )
    del os.environ["SLURM_NTASKS"]


app.callback()(_options)
for command in (
    demo.demo,
    summary.summary,
    check.check,
    pack.pack,
    train.train,
    pretrain.pretrain,
    calibrate.calibrate,
    evaluate.evaluate,
    predict.predict,
    embed.embed,
    compare.compare,
    explain.explain,
    compress.compress,
    export.export,
    serve.serve,
    publish.publish,
    benchmark.benchmark,
    experiment.experiment,
):
    app.command()(command)
app.add_typer(weights.app, name="weights")
