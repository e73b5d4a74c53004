"""The subjects: their own work, their contenders, rows and marks."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.bench import ceilings, compare, data, evaluate, measure, ops, pictures, predict, run, train
from alexnet.bench.measure import Contender, Options, Series
from alexnet.bench.table import Row
from alexnet.data.store import open_store
from alexnet.device import pick_precision
from alexnet.errors import UsageError
from alexnet.networks import create
from alexnet.training.recipes import recipe
from alexnet.training.supervised import build

SMALL = {"network": "modern", "input_size": 63, "resize": 72, "batch_size": 4, "precision": "float32"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pictures.noise_store(tmp_path_factory.mktemp("noise"), images=10, classes=3, size=72)


@dataclass
class Entries:
    """Replaces `race`: records the contenders instead of running them."""

    contenders: list[Contender] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def race(self, title: str, contenders: list[Contender], repeats: int) -> dict[str, Series]:
        """Record the contenders; each gets one second per round."""
        self.contenders.extend(contenders)
        names = [each.name for each in contenders]
        assert len(set(names)) == len(names)
        return {name: Series(name, (1.0,) * repeats, 10**9) for name in names}


@pytest.fixture(scope="module")
def everything() -> Iterator[Entries]:
    """All rows and contenders of `alexnet benchmark all`, with `race` replaced: a real one takes half an hour."""
    entries = Entries()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "race", entries.race)
        entries.rows = list(run.benchmark("all", replace(Options.quick("cpu"), repeats=2)))
        yield entries


def test_every_class_of_a_store_of_noise_can_be_trained_on(tmp_path: Path) -> None:
    store = open_store(pictures.noise_store(tmp_path, 5, 4, size=16))
    assert np.bincount(store.labels).tolist() == [2, 2, 2, 2]
    build(store, recipe("cifar-80sec", batch_size=5, input_size=16, resize=16, validation=0.0, test=0.0))


def test_noise_store_is_valid_and_all_training_split(store: str) -> None:
    found = open_store(store, verify=True)
    assert (len(found), found.size, len(found.class_names)) == (10, 72, 3)
    assert set(found.splits) == {"train"}
    assert found.images(np.arange(2)).std() > 50


def test_photographs_are_distinct_jpeg_files_of_500_by_375(tmp_path: Path) -> None:
    names = pictures.photographs(tmp_path, 4)
    for name in names:
        with Image.open(tmp_path / name) as photo:
            assert (photo.format, photo.size) == ("JPEG", (500, 375))
    assert len({(tmp_path / name).read_bytes() for name in names}) == 4


def test_flop_follows_from_the_multiply_accumulates_of_the_layers() -> None:
    conv1, all_layers = 105_415_200, 724_406_816  # multiply-accumulates of bvlc
    assert train.flop("bvlc") == 2 * (3 * all_layers - conv1)


def test_step_counts_the_images_of_its_batch(store: str) -> None:
    assert train.step(store, "bvlc", SMALL, 0.0, "cpu")() == 4


def test_epoch_counts_every_full_batch_of_the_store(store: str) -> None:
    assert train.epochs(store, "bvlc", {**SMALL, "augment": train.PAPER}, "cpu")() == 8


def test_batches_continue_into_the_next_epoch(store: str) -> None:
    threads = torch.get_num_threads()
    try:
        work = data.batches(store, "bvlc", {**SMALL, "augment": train.PAPER}, 0.0)
        assert [work() for _ in range(5)] == [4] * 5  # an epoch has two
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_packing_packs_every_file(tmp_path: Path) -> None:
    names = pictures.photographs(tmp_path, 2)
    assert data.packing(str(tmp_path), names * 3, workers=1)() == 6
    assert len(open_store(tmp_path / "store-1")) == 6


def test_large_photos_are_packed_by_scale_and_whole(tmp_path: Path) -> None:
    names = pictures.photographs(tmp_path, 2, (1500, 1125))
    with Image.open(tmp_path / names[0]) as photo:
        assert photo.size == (1500, 1125)
    for exact in (False, True):
        data.packing(str(tmp_path), names, workers=1, exact=exact)()
    data.packing(str(tmp_path), names, workers=1, by_pillow=True)()
    scaled, whole, pillow = (open_store(tmp_path / f"store-1{name}") for name in ("", "-exact", "-pillow"))
    assert (scaled.exact, whole.exact) == (False, True)
    assert scaled.content != whole.content == pillow.content


def test_evaluation_counts_every_image_of_the_store(tmp_path: Path) -> None:
    assert evaluate.evaluation("modern", pictures.noise_store(tmp_path, 6, 3), 4, 0.0, "cpu")() == 6


def test_the_network_alone_counts_the_images_of_its_batch() -> None:
    assert evaluate.alone("modern", 3, 0.0, "cpu")() == 3


@pytest.mark.parametrize("photo", [None, [375, 500]])
def test_prediction_counts_one_image(photo: list[int] | None) -> None:
    assert predict.prediction("modern", 0.0, "cpu", photo)() == 1


def test_prediction_reads_a_file(tmp_path: Path) -> None:
    photo = str(tmp_path / pictures.photographs(tmp_path, 1)[0])
    assert predict.prediction("modern", 0.0, "cpu", photo)() == 1


def test_comparisons_count_calls() -> None:
    assert compare.distance(1, 64, 0.0, "cpu")() == 1
    assert compare.lpips_distance(1, 64, 0.0, "cpu")() == 1


@pytest.mark.parametrize("title", ops.STAGES)
def test_stage_is_all_layers_between_two_convolutions(title: str) -> None:
    network, layers, (channels, side) = ops.STAGES[title]
    names = [name for name, _ in create(network, 2).stages()]
    first = names.index(layers[0])
    assert names[first : first + len(layers)] == layers
    assert names[first - 1].startswith("conv")
    assert names[first + len(layers)].startswith("conv")
    assert (channels, side) in ((96, 55), (256, 27))
    assert ops.stages(network, layers, [2, channels, 9, 9], "float32", 0.0, "cpu")() == 1


def test_ceilings_count_operations_and_bytes() -> None:
    assert ceilings.matrix_product("float32", 8, 0.0, "cpu")() % (2 * 8**3) == 0
    assert ceilings.copy_of_map(0.0, "cpu", (2, 3))() == 2 * 2 * 6
    assert ceilings.copy_of_buffer(0.0, "cpu", 100)() == 200


def test_all_has_every_mark(everything: Entries) -> None:
    rows = everything.rows
    assert {row.subject for row in rows} == {"ceilings", *run.SUBJECTS}
    assert len({(row.subject, row.what) for row in rows}) == len(rows)
    marks = sorted(row.mark for row in rows if row.mark)
    expected = [">= 40 x", "<= 8 x", ">= 11 x", ">= 5 x", ">= 55 %", "<= 120 %", ">= 3 x", ">= 92 %", ">= 1.3 x"]
    expected += [">= 4 x", ">= 4,000 images/s", ">= 400 images/s", ">= 1.8 x", ">= 1.8 x", ">= 3 x", ">= 600 images/s"]
    expected += ["<= 45 %", "<= 45 %", "<= 120 %", "<= 100 %", ">= 4 x", ">= 1 x", ">= 2.5 x"]
    if pick_precision("auto", torch.device("cpu")) == torch.float32:
        expected.remove(">= 11 x")  # of the step in bfloat16, which this processor does not compute
    assert marks == sorted([*expected, "<= 2.5 GB"])


def test_every_contender_names_a_builder_that_takes_its_settings(everything: Entries) -> None:
    for contender in everything.contenders:
        module, _, function = contender.build.partition(":")
        inspect.signature(getattr(import_module(module), function)).bind(**contender.settings)
        native = contender.environment.get("ALEXNET_NATIVE")
        assert (native == "off") == ("stock eager" in contender.name or "torch.compile" in contender.name)


def test_a_single_subject_measures_only_itself_and_the_ceilings(everything: Entries) -> None:
    assert {row.subject for row in run.benchmark("ops", Options())} == {"ceilings", "ops"}


def test_the_json_answer_names_the_machine_and_the_settings(everything: Entries) -> None:
    options = Options(repeats=3)
    answer = run.to_json([row for row in everything.rows if row.subject in ("ceilings", "predict")], options)
    assert list(answer) == ["complete", "ceilings", "rows", "environment"]
    assert {row["subject"] for row in answer["rows"]} == {"predict"}
    found = answer["environment"]
    assert found["versions"].keys() >= {"torch", "keras", "tensorflow"}
    assert (found["repeats"], found["threads"]) == (3, torch.get_num_threads())


@pytest.mark.parametrize(
    ("subject", "device", "said"),
    [
        ("speed", "cpu", "unknown subject 'speed': .*known: all, compare, data, evaluate, ops, predict, train"),
        ("ops", "abacus", "unknown device 'abacus'"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_measured(subject: str, device: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run.benchmark(subject, Options(device=device))
