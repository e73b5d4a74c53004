"""When files are written, in which order, and what happens to errors of the thread that writes them."""

import threading

import pytest

from alexnet.errors import AlexNetError, Diverged
from alexnet.training import saving
from alexnet.training.saving import Saver


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the saver sees, in seconds."""
    now = [0.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    return now


def test_kept_weights_are_written_before_the_checkpoint_that_names_them_and_only_the_last_ones():
    written: list[str] = []
    with Saver(minutes=5, size=0) as saver:
        saver.keep(lambda: written.append("epoch 1"))
        saver.keep(lambda: written.append("epoch 2"))
        saver.save(lambda: written.append("checkpoint"))
    assert written == ["epoch 2", "checkpoint"]


def test_kept_weights_are_written_at_the_end_and_when_a_run_diverges():
    written: list[str] = []
    with Saver(minutes=5, size=0) as saver:
        saver.keep(lambda: written.append("end"))
    with pytest.raises(Diverged):
        keep_and_diverge(written)
    assert written == ["end", "diverged"]


def keep_and_diverge(written: list[str]) -> None:
    with Saver(minutes=5, size=0) as saver:
        saver.keep(lambda: written.append("diverged"))
        raise Diverged("the loss is nan")


def test_writing_takes_at_most_two_percent_of_the_time_and_happens_every_five_minutes(clock):
    with Saver(minutes=5, size=0) as saver:

        def slow(seconds: float) -> None:
            clock[0] += seconds

        saver.save(lambda: slow(2.0))
        saver.wait()  # 2 s of writing are 2 % of 100 s
        for passed, epoch_ended, within in ((97.0, False, False), (101.0, True, False), (299.0, True, False)):
            clock[0] = passed
            assert (saver.due(epoch_ended=True), saver.due(epoch_ended=False)) == (epoch_ended, within)
        saver.save(lambda: slow(20.0))  # 2 % would be 1000 s: the five minutes win
        saver.wait()
        clock[0] = 299.0 + 301.0
        assert saver.due(epoch_ended=True)
        assert saver.due(epoch_ended=False)


def test_the_first_checkpoint_is_spaced_by_its_size(clock):
    with Saver(minutes=60, size=int(3e9)) as saver:  # 10 s at 300 MB/s: due after 500 s
        clock[0] = 499.0
        assert not saver.due(epoch_ended=True)
        clock[0] = 501.0
        assert saver.due(epoch_ended=True)


def test_writing_happens_beside_the_steps_and_one_at_a_time():
    gate, order = threading.Event(), []

    def first() -> None:
        gate.wait(10)
        order.append("first")

    with Saver(minutes=5, size=0) as saver:
        saver.save(first)
        order.append("step")
        gate.set()
        saver.save(lambda: order.append("second"))
    assert order == ["step", "first", "second"]


def test_an_error_of_the_thread_is_raised_by_the_next_call():
    def fail() -> None:
        raise AlexNetError("cannot write: disk full")

    with Saver(minutes=5, size=0) as saver:
        saver.save(fail)
        with pytest.raises(AlexNetError, match="disk full"):
            saver.wait()
