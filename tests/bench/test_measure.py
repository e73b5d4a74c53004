"""Races between contenders in processes of their own. The contenders here load neither torch nor TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.bench.measure import Contender, Interrupted, Options, measured, race
from alexnet.errors import AlexNetError, UsageError

pytestmark = pytest.mark.usefixtures("shown_log")

BUILDERS = """
import os, signal, time

def sleep():
    return lambda: time.sleep(0.001) or 1

def hold(size):
    data = b"1" * size
    return lambda: len(data)

def fail_with_variable(name):
    raise RuntimeError(f"{name} is {os.environ[name]}")

def survive_stop_signals():
    def work():
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return 1
    return work

def stop_the_parent(in_round):
    rounds = []
    def work():
        rounds.append(1)
        if len(rounds) == in_round:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
        return 1
    return work
"""


@pytest.fixture
def contender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Contender]:
    """Returns a contender built by a function of BUILDERS: (name, function, keyword arguments) -> Contender."""
    (tmp_path / "builders_of_contenders.py").write_text(BUILDERS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)  # child processes inherit sys.path

    def make(name: str, function: str = "sleep", **settings: object) -> Contender:
        return Contender(name, f"builders_of_contenders:{function}", settings)

    return make


def test_every_contender_is_timed_once_per_round(
    contender: Callable[..., Contender], capfd: pytest.CaptureFixture[str]
) -> None:
    found = race("two", [contender("first"), contender("second")], repeats=3)
    assert list(found) == ["first", "second"]
    assert [len(series.seconds) for series in found.values()] == [3, 3]
    assert all(seconds > 0 for series in found.values() for seconds in series.seconds)
    assert capfd.readouterr().err.splitlines() == [
        "two: starting first",
        "two: starting second",
        *(f"two: round {number} of 3" for number in (1, 2, 3)),
    ]


def test_memory_is_that_of_the_contenders_own_process(contender: Callable[..., Contender]) -> None:
    sizes = {"small": 10**6, "large": 10**8}
    found = race("memory", [contender(name, "hold", size=size) for name, size in sizes.items()], repeats=1)
    assert found["large"].peak_bytes - found["small"].peak_bytes == pytest.approx(10**8, rel=0.2)


@pytest.mark.parametrize(
    ("build", "settings", "said"),
    [
        ("no_such_library:step", {}, "no_such_library is not installed"),
        ("math:sqrt", {}, "TypeError: math.sqrt() takes exactly one argument (0 given)"),
        ("os:_exit", {"status": 3}, "its process ended with code 3, perhaps for want of memory"),
    ],
)
def test_a_failing_contender_is_reported_and_the_others_continue(
    build: str, settings: dict[str, int], said: str, contender: Callable[..., Contender]
) -> None:
    found = race("two", [Contender("broken", build, settings, ours=False), contender("sound")], repeats=1)
    assert (found["broken"].missing, found["broken"].seconds) == (said, ())
    assert (found["sound"].missing, len(found["sound"].seconds)) == ("", 1)


def test_a_failure_of_our_own_contender_ends_the_race() -> None:
    with pytest.raises(AlexNetError, match="cannot measure broken: no_such_library is not installed"):
        race("one", [Contender("broken", "no_such_library:step", {})], repeats=1)


def test_environment_variables_are_set_before_the_contender_is_built(contender: Callable[..., Contender]) -> None:
    build, settings = "builders_of_contenders:fail_with_variable", {"name": "ALEXNET_NATIVE"}
    given = Contender("given", build, settings, ours=False, environment={"ALEXNET_NATIVE": "avx2"})
    assert race("one", [given], repeats=1)["given"].missing == "RuntimeError: ALEXNET_NATIVE is avx2"


def test_a_stopped_race_keeps_its_complete_rounds(contender: Callable[..., Contender]) -> None:
    with pytest.raises(Interrupted) as stopped:
        race("two", [contender("first"), contender("second", "stop_the_parent", in_round=3)], repeats=5)
    assert [len(series.seconds) for series in stopped.value.found.values()] == [2, 2]
    assert stopped.value.found["first"].peak_bytes > 0


def test_rows_of_a_stopped_race_come_before_the_interrupt(contender: Callable[..., Contender]) -> None:
    rows = measured("one", [contender("only", "stop_the_parent", in_round=2)], 5, lambda found: list(found))
    assert next(rows) == "only"
    with pytest.raises(KeyboardInterrupt):
        next(rows)


def test_a_race_stopped_in_its_first_round_has_no_rows(contender: Callable[..., Contender]) -> None:
    with pytest.raises(KeyboardInterrupt):
        next(measured("one", [contender("only", "stop_the_parent", in_round=1)], 5, lambda found: list(found)))


def test_contenders_ignore_the_signals_that_stop_the_benchmark(contender: Callable[..., Contender]) -> None:
    """Ctrl-C in a terminal signals every process of the group; only the parent may end."""
    found = race("one", [contender("only", "survive_stop_signals")], repeats=2)
    assert len(found["only"].seconds) == 2


def test_quick_options_take_one_round() -> None:
    options = Options.quick("cpu")
    assert (options.repeats, options.seconds) == (1, 0.0)
    assert options.images >= 2 * options.classes


@pytest.mark.parametrize("name", ["repeats", "batch_size"])
def test_a_count_below_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0; it takes 1 or more"):
        Options(**{name: 0})
