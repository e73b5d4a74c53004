"""Symbols come back as they went, in nearly as few bits as their entropy; damaged records are refused in one line."""

import numpy as np
import pytest

from alexnet.errors import WeightsError
from alexnet.weights.entropy import HEAD, STEPS, WHOLE, decode, encode, entropy, shares_of

KINDS = ((1, 1), (2, 5), (16, 16), (256, 256), (7, 200))  # that occur; that there could be


def drawn(count: int, kinds: int, seed: int = 0) -> np.ndarray:
    """Symbols of very unequal frequency."""
    random = np.random.default_rng(seed)
    p = random.exponential(size=kinds) ** 3 + 1e-6
    return random.choice(kinds, count, p=p / p.sum()).astype(np.uint8)


@pytest.mark.parametrize(("occurring", "kinds"), KINDS)
@pytest.mark.parametrize("count", [1, 2, 31, 33, 1000, 32 * STEPS + 1, 50_000])
def test_symbols_come_back(count: int, occurring: int, kinds: int) -> None:
    symbols = drawn(count, occurring)
    assert np.array_equal(decode(encode(symbols, kinds)), symbols)


def test_records_are_within_a_hundredth_of_the_entropy_and_16_bits_a_lane() -> None:
    symbols = drawn(300_000, 16)
    bits = 8 * len(encode(symbols, 16))
    least = entropy(np.bincount(symbols)) * len(symbols)
    assert least < bits < 1.01 * least + 16 * (len(symbols) / STEPS + 1) + 8 * 100


def test_nearly_sure_symbols_take_a_small_part_of_a_bit() -> None:
    symbols = (np.random.default_rng(0).random(200_000) < 0.01).astype(np.uint8)
    assert 8 * len(encode(symbols, 2)) / len(symbols) < 0.081 + 32 / STEPS


@pytest.mark.parametrize("counts", [[1], [0, 7], [1] * 256, [10**9] + [1] * 255, [3, 0, 5], [1, 10**12, 1]])
def test_shares_sum_to_the_whole_and_leave_no_kind_out(counts: list[int]) -> None:
    shares = shares_of(np.array(counts))
    assert shares.sum() == WHOLE
    assert ((shares > 0) == (np.array(counts) > 0)).all()


def test_every_truncation_is_refused_in_one_line() -> None:
    record = encode(drawn(500, 9), 9)
    for length in range(len(record)):
        with pytest.raises(WeightsError, match=r"^a row of codes is damaged"):
            decode(record[:length])


def outcome(record: np.ndarray) -> str:
    """The message of the refusal; "" for symbols, as many as a record of that length may hold."""
    try:
        found = decode(record)
    except WeightsError as error:
        return str(error)
    assert len(found) <= STEPS * len(record)
    return ""


def test_no_changed_byte_leads_elsewhere_than_to_symbols_or_one_line() -> None:
    """A file's checksum finds changes; without it, decoding ends and stays within its memory."""
    symbols, random = drawn(300, 5), np.random.default_rng(1)
    record = np.frombuffer(encode(symbols, 5), np.uint8)
    refused = 0
    for _ in range(400):
        changed = record.copy()
        changed[random.integers(len(record))] ^= random.integers(1, 256)
        message = outcome(changed)
        assert "\n" not in message
        refused += bool(message)
    assert refused > 350


@pytest.mark.parametrize("head", [(2**32 - 1, 1, 1, 0), (10, 0, 1, 0), (0, 0, 1, 0), (5, 9, 1, 0), (9, 1, 0, 0)])
def test_counts_that_no_record_of_that_length_can_have_are_refused(head: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match="it tells"):
        decode(HEAD.pack(*head) + bytes(8))
