"""Training steps of two checkouts, timed in turn."""

import json

import pytest

import against


def test_the_ratio_is_formed_within_each_round() -> None:
    found = {"here": [(1.0, 2.0), (2.0, 4.0), (4.0, 9.0)], "there": [(2.0, 2.0), (2.0, 2.0), (2.0, 3.0)]}
    told = against.row("bvlc", found)
    assert told["clock"]["ratio"] == [1.0, 0.5, 2.0]
    assert told["processor"]["ratio"] == [2.0, 1.0, 3.0]
    assert told["clock"]["there_images_per_second"] == 0.5
    assert "bvlc, 3 rounds" in against.line(told)


@pytest.mark.slow
def test_both_sides_are_timed_by_their_own_package(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "off")
    words = ["--recipes", "cifar-80sec", "--rounds", "2", "--batch-size", "4", "--seconds", "0", "--json"]
    assert against.main([str(against.ROOT), *words]) == 0
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (told["recipe"], told["rounds"]) == ("cifar-80sec", 2)
    assert all(told[kind]["ratio"][0] > 0 for kind in ("clock", "processor"))
