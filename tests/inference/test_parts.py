"""Where files of a model are written if nobody says where."""

from pathlib import Path

import pytest

from alexnet.inference.parts import place_of


def test_a_place_outside_of_the_run_is_told_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    assert place_of(tmp_path, "mine", "model.onnx", "mine.onnx") == tmp_path / "model.onnx"
    assert not caplog.messages
    (tmp_path / "w.safetensors").touch()
    assert place_of(tmp_path / "w.safetensors", "w", "model.onnx", "w.onnx") == Path("w.onnx")
    assert place_of(None, "imagenet:bvlc", "model.onnx", "imagenet-bvlc.onnx") == Path("imagenet-bvlc.onnx")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert place_of(tmp_path, "mine", "model.onnx", "mine.onnx") == Path("mine.onnx")
    goes = "goes to the current folder, for"
    assert caplog.messages == [
        f"w.onnx {goes} {tmp_path / 'w.safetensors'} is a file, not a run's folder; --out names another place",
        f"imagenet-bvlc.onnx {goes} imagenet:bvlc is no run's folder on this machine; --out names another place",
        f"mine.onnx {goes} the run's folder {tmp_path} is not writable; --out names another place",
    ]
