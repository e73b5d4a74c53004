"""Contenders take turns in processes of their own, and what goes wrong in one is said in its row."""

import pytest

from alexnet.bench.measure import Contender, Options, race
from alexnet.errors import AlexNetError

pytestmark = pytest.mark.usefixtures("shown_log")

COPY = "alexnet.bench.ceilings:copy_of_buffer"
SMALL = {"seconds": 0.0, "device": "cpu", "size": 1000}


def test_every_contender_is_timed_once_a_round(capfd: pytest.CaptureFixture[str]) -> None:
    found = race("two", [Contender("first", COPY, SMALL), Contender("second", COPY, SMALL)], repeats=3)
    assert list(found) == ["first", "second"]
    assert [len(series.seconds) for series in found.values()] == [3, 3]
    assert all(seconds > 0 for series in found.values() for seconds in series.seconds)
    assert capfd.readouterr().err.splitlines() == [
        "two: starting first",
        "two: starting second",
        *(f"two: round {number} of 3" for number in (1, 2, 3)),
    ]


def test_a_contenders_memory_is_that_of_its_own_process() -> None:
    sizes = {"small": 10**6, "large": 3 * 10**8}
    found = race("memory", [Contender(name, COPY, {**SMALL, "size": size}) for name, size in sizes.items()], repeats=1)
    more = found["large"].peak_bytes - found["small"].peak_bytes
    assert more == pytest.approx(2 * 3 * 10**8, rel=0.1)  # the buffer and its copy


@pytest.mark.parametrize(
    ("build", "settings", "said"),
    [
        ("no_such_library:step", {}, "no_such_library is not installed"),
        ("math:sqrt", {}, "TypeError: math.sqrt() takes exactly one argument (0 given)"),
        ("os:_exit", {"status": 3}, "its process ended with code 3, perhaps for want of memory"),
    ],
)
def test_what_cannot_run_is_said_and_the_others_go_on(build: str, settings: dict[str, int], said: str) -> None:
    broken = Contender("broken", build, settings, ours=False)
    found = race("two", [broken, Contender("sound", COPY, SMALL)], repeats=1)
    assert (found["broken"].missing, found["broken"].seconds) == (said, ())
    assert (found["sound"].missing, len(found["sound"].seconds)) == ("", 1)
    with pytest.raises(AlexNetError, match="cannot measure broken: "):
        race("one", [Contender("broken", build, settings)], repeats=1)


def test_a_contender_has_the_environment_it_asks_for() -> None:
    """ALEXNET_NATIVE is read when an operator is first called; a wrong name there is an error."""
    shape = {"network": "bvlc", "layers": ["norm1"], "shape": [1, 8, 5, 5], "precision": "float32"}
    settings = {**shape, "seconds": 0.0, "device": "cpu"}
    names = {"off": "", "nonsense": "nonsense"}
    contenders = [
        Contender(name, "alexnet.bench.ops:stages", settings, ours=False, environment={"ALEXNET_NATIVE": name})
        for name in names
    ]
    found = race("two", contenders, repeats=1)
    assert found["off"].missing == ""
    assert "nonsense" in found["nonsense"].missing


def test_quick_options_take_one_round() -> None:
    options = Options.quick("cpu")
    assert (options.repeats, options.seconds) == (1, 0.0)
    assert options.images >= 2 * options.classes
