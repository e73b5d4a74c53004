"""The processes of a server: begun, ended and begun again; orders that are refused before anything begins."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet import cli
from alexnet.cli.serve import _print
from alexnet.errors import UsageError
from alexnet.serving.limits import Limits, amount
from alexnet.serving.process import Failed, NotAnswered, Refused, _answer
from alexnet.serving.run import Order, check, name_of
from alexnet.serving.server import addresses, listening
from served import PATIENCE, Served


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(process: int) -> None:
    """Wait until a process has ended."""
    until = time.monotonic() + PATIENCE
    while alive(process):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_computing_process_that_dies_is_started_again_and_sigterm_finishes_what_was_accepted(
    start: Callable[..., Served], export: Path, photo: bytes
) -> None:
    served = start(export)
    wanted = served.predict(photo).json()
    worker = served.worker
    with ThreadPoolExecutor(3) as pool:
        os.kill(worker, signal.SIGSTOP)
        lost = pool.submit(served.predict, photo)
        served.wait_for("alexnet_places_taken", 1)
        os.kill(worker, signal.SIGKILL)
        assert (lost.result().status, lost.result().headers["retry-after"]) == (503, "1")
        served.wait_for("alexnet_ready", 1)
        assert served.value("alexnet_restarts_total") == 1
        assert served.predict(photo).json() == wanted
        second = served.worker
        assert second != worker
        with served.standing_still():
            accepted = [pool.submit(served.predict, photo) for _ in range(3)]
            served.wait_for("alexnet_places_taken", 3)
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert [each.result().json() for each in accepted] == [wanted] * 3
    assert served.process.wait(PATIENCE) == 0
    gone(second)
    told = served.log.read_text().splitlines()
    assert [line for line in told if "started again" in line] == told[1:2]
    assert told[-1] == "alexnet: every request that was accepted is answered; ended"


def test_a_server_that_is_killed_leaves_no_process_and_no_torch_was_imported(
    start: Callable[..., Served], export: Path
) -> None:
    served = start(export)
    worker = served.worker
    for process in (served.process.pid, worker):
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()
    served.process.kill()
    gone(worker)


def test_ctrl_c_ends_it(start: Callable[..., Served], export: Path) -> None:
    served = start(export)
    worker = served.worker
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(PATIENCE) == 0
    gone(worker)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (Order("m", host="0.0.0.0"), "host 0.0.0.0 lets other machines ask; give --token"),
        (Order("m", host="example.org"), "host example.org lets other machines ask"),
        (Order("m", token="short"), "the token has 5 characters; give 16 to 200"),
        (Order("m", token="with a space in it and long"), "without spaces"),
        (Order("m", port=70000), "port is 70000; give 1 to 65535"),
        (Order("m", allowed_origins=["example.org"]), "origin 'example.org' is none"),
        (Order("m", allowed_hosts=["http://x/"]), "host name 'http://x/' is none"),
        (Order("m", allowed_origins=["https://example.org/"]), "scheme and host"),
    ],
)
def test_unsafe_orders_are_refused(order: Order, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check(order)


def test_safe_orders_are_not() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.3.2.1"):
        check(Order("m", host=host))
    check(Order("m", host="0.0.0.0", token="x" * 16, allowed_origins=["https://example.org:8443"]))


def test_addresses_can_be_opened() -> None:
    with listening("127.0.0.1", 0) as bound:
        assert addresses(bound) == [f"http://127.0.0.1:{bound.getsockname()[1]}"]
    with listening("0.0.0.0", 0) as bound:
        here, *others = addresses(bound)
        port = bound.getsockname()[1]
    assert here == f"http://localhost:{port}"
    assert f"http://{socket.gethostname()}:{port}" in (here, *others)
    assert not any("0.0.0.0" in each for each in others)


def test_a_server_open_to_the_network_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _print(["http://localhost:8000", "http://mine:8000"], alone=False)
    printed = capsys.readouterr()
    assert printed.out == "http://localhost:8000\n"
    assert printed.err.startswith("alexnet: open to the network at http://mine:8000: whoever has the token may ask")
    _print(["http://127.0.0.1:8000"], alone=True)
    assert capsys.readouterr().err == "alexnet: ready; Ctrl-C ends\n"


def test_limits_are_checked() -> None:
    assert [amount("n", text) for text in ("10M", "500K", "1.5G", "7")] == [10_000_000, 500_000, 1_500_000_000, 7]
    for wrong in ("", "10MB", "-1", "1e9", "M", " 1"):
        with pytest.raises(UsageError, match="--max-bytes is"):
            amount("--max-bytes", wrong)
    for name in ("max_bytes", "max_pixels", "queue", "timeout"):
        with pytest.raises(UsageError, match=f"{name} is 0; give more than 0"):
            Limits(**{name: 0})
    with pytest.raises(UsageError, match="timeout is nan"):
        Limits(timeout=float("nan"))


def test_a_model_s_name_is_the_last_of_its_path() -> None:
    names = {"runs/mine": "mine", "a b/my model.onnx": "my-model", "imagenet:bvlc": "imagenet-bvlc", "..": "model"}
    assert {model: name_of(model) for model in names} == names


def test_models_and_ports_that_cannot_be_are_told_in_one_line(
    server: Served, export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.onnx").write_bytes(export.read_bytes()[:2000])
    for words, code, told in (
        ([str(tmp_path / "torn.onnx")], 3, "torn.onnx"),
        ([str(export), "--port", str(server.port)], 2, f"127.0.0.1:{server.port} cannot be listened at"),
        ([str(export), "--max-bytes", "much"], 2, "--max-bytes is 'much'"),
    ):
        assert cli.main(["serve", *words]) == code
        caught = capsys.readouterr()
        assert caught.out == ""
        (line,) = caught.err.splitlines()
        assert told in line


def test_missing_packages_are_named(export: Path) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from alexnet import cli; sys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", program, "serve", export], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().endswith("install them: pip install starlette uvicorn")


@pytest.mark.slow
def test_a_computing_process_that_hangs_is_started_again(
    start: Callable[..., Served], export: Path, photo: bytes
) -> None:
    served = start(export, "--timeout", "0.5")
    worker = served.worker
    os.kill(worker, signal.SIGSTOP)
    assert served.predict(photo).status == 503
    served.wait_for("alexnet_restarts_total", 1)
    served.wait_for("alexnet_ready", 1)
    assert served.predict(photo).status == 200
    gone(worker)


@pytest.mark.slow
def test_sigterm_while_the_model_is_opened_leaves_nothing(export: Path) -> None:
    command = [sys.executable, "-m", "alexnet", "serve", str(export), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + PATIENCE
    while not (found := children.read_text().split()):
        assert time.monotonic() < until
        time.sleep(0.005)
    process.terminate()
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, errors) in ((130, b"", b"alexnet: interrupted\n"), (0, out, errors))
    gone(int(found[0]))


def test_what_the_computing_process_says_becomes_an_answer_or_an_error() -> None:
    assert _answer("answer", b"{}") == b"{}"
    for kind, error in (("image", Refused), ("failed", Failed), ("late", NotAnswered), ("ended", NotAnswered)):
        with pytest.raises(error):
            _answer(kind, b"told")


@pytest.mark.slow
def test_a_missing_model_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "missing.onnx", "--port", "0"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing.onnx" in line
