"""alexnet compress"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alexnet


def test_compress_prints_sizes_and_tells_what_to_do_next(
    calibrated_run: "alexnet.Run", tmp_path: Path, run: Callable[..., Any]
) -> None:
    copy = shutil.copytree(calibrated_run.folder, tmp_path / "run")
    done = run("compress", copy)
    assert done.code == 0, done.err
    for part in (str(copy / "compressed.safetensors"), "x smaller", "McNemar p", "conv2.weight", "top-1"):
        assert part in done.out
    assert f"alexnet predict {copy / 'compressed.safetensors'} IMAGE..." in done.err
    told = json.loads(run("compress", copy, "--json", "--bits", "3").out)
    assert told["bits"] == 3
    assert told["path"] == str(copy / "compressed-3bit.safetensors")
    assert told["ratio"] == told["model_size"] / told["size"]
    assert told["accuracy"]["images"] > 0
    both = [alexnet.load(each) for each in (copy, copy / "compressed.safetensors")]
    assert both[0].temperature == both[1].temperature


def test_bits_out_of_range_are_one_line(calibrated_run: "alexnet.Run", run: Callable[..., Any]) -> None:
    done = run("compress", calibrated_run.folder, "--bits", "12")
    assert (done.code, done.err) == (2, "alexnet: bits is 12; it takes a whole number from 2 to 8\n")
