"""The command `alexnet benchmark`: incremental output, and partial results when it is stopped."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from alexnet import cli
from alexnet.bench import measure
from alexnet.bench.measure import Contender, Interrupted, Series

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "alexnet.cli", "benchmark"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Races are not run: each contender takes a second per round, and the race "pack" is stopped after two rounds.

    Title of each race -> standard output at its start.
    """
    outputs: dict[str, str] = {}

    def race(title: str, contenders: Sequence[Contender], repeats: int) -> dict[str, Series]:
        outputs[title] = "".join(outputs.values()) + capsys.readouterr().out
        if title == "pack":
            raise Interrupted({each.name: Series(each.name, (1.0, 1.0)) for each in contenders})
        return {each.name: Series(each.name, (1.0,) * repeats, 10**9) for each in contenders}

    monkeypatch.setattr(measure, "race", race)
    return outputs


def test_rows_are_printed_before_the_next_race_starts(
    printed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "data", "--quick"]) == 130
    assert list(printed) == ["ceilings", "batches", "pack"]
    assert printed["ceilings"] == ""
    assert "copy of 256 MiB" in printed["batches"]
    assert "batches of the recipe modern" in printed["pack"]
    assert "pack of JPEG" not in printed["pack"]


def test_a_stopped_benchmark_prints_the_rows_so_far_and_exits_with_130(
    printed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "data", "--quick"]) == 130
    last = capsys.readouterr()
    assert "pack of JPEG, 500 x 375, one core" in last.out  # of the complete rounds of the stopped race
    assert last.err.splitlines()[-1] == "alexnet: interrupted"
    table = printed["pack"] + last.out
    assert [line.split()[0] for line in table.splitlines() if line[0] != " "] == ["ceilings", "data"]
    assert table.count("median") == 1


def test_a_stopped_benchmark_answers_json_with_the_rows_so_far(
    printed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "data", "--quick", "--json"]) == 130
    assert set(printed.values()) == {""}
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["complete", "ceilings", "rows", "environment"]
    assert answer["complete"] is False
    assert {row["unit"] for row in answer["ceilings"]} == {"TFLOP/s", "GB/s"}
    assert [row["repeats"] for row in answer["rows"] if row["what"].startswith("pack")] == [2, 2, 2]


def test_packing_has_rows_side_by_side_with_their_marks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def race(title: str, contenders: Sequence[Contender], repeats: int) -> dict[str, Series]:
        seconds = {
            each.name: 8.0
            if "--exact" in each.name or "Pillow" in each.name
            else 2.0
            if "one core" in each.name
            else 1.0
            for each in contenders
        }
        return {name: Series(name, (each,), 10**9) for name, each in seconds.items()}

    monkeypatch.setattr(measure, "race", race)
    assert cli.main(["benchmark", "data", "--quick", "--json"]) == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    ratios = [
        ("pack on two cores, by one", 2.0, ">= 1.8 x"),
        ("pack of 12 megapixels, by Pillow; one core", 4.0, ">= 3 x"),
        ("pack of 12 megapixels, by --exact; one core", 4.0, ""),
        ("pack of 12 megapixels, two cores, by one", 2.0, ">= 1.8 x"),
    ]
    assert [(rows[what]["value"], rows[what]["mark"]) for what, _, _ in ratios] == [each[1:] for each in ratios]
    assert [rows[f"pack{what} of JPEG, 4000 x 3000, one core"]["value"] for what in (" --exact", "")] == [0.125, 0.5]


@pytest.mark.slow
def test_a_stop_signal_ends_a_real_benchmark_with_its_rows(tmp_path: Path) -> None:
    command = [*COMMAND, "ops", "--quick"]
    with (
        (tmp_path / "stderr").open("w", encoding="utf-8") as err,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=ENVIRONMENT, start_new_session=True
        ) as process,
    ):
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        table = [*itertools.takewhile(lambda line: "copy of 256 MiB" not in line, lines)]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, contenders included
        assert process.stdout.read() == ""
        assert process.wait() == 130
    told = (tmp_path / "stderr").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in table if line[0] != " "] == ["ceilings"]
    assert told[-1] == "alexnet: interrupted"
    assert "Traceback (most recent call last):" not in told


@pytest.mark.slow
def test_a_quick_benchmark_measures_every_row() -> None:
    done = subprocess.run(
        [*COMMAND, "data", "--quick", "--json"], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() == {"complete", "ceilings", "rows", "environment"}
    assert answer["complete"] is True
    assert {row["unit"] for row in answer["ceilings"]} == {"TFLOP/s", "GB/s"}
    assert all(row["value"] > 0 for row in answer["rows"])
    assert "pack: round 1 of 1" in done.stderr
