"""Bad input gets its exit code, one line, and nothing written."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet import cli


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file: length, kind, content, checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


GIGANTIC = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
BAD_IMAGES = ("corrupt.png", "truncated.png", "empty.png", "gigantic.png", "text.jpg")


@pytest.fixture(scope="module")
def bad(weights: Path, tmp_path_factory: pytest.TempPathFactory, draw: Callable[..., None]) -> Path:
    """A folder of everything that a user may give by mistake; <bad image>/ holds it among five good ones."""
    folder = tmp_path_factory.mktemp("bad")
    draw(folder / "good", ["0", "1", "4"], images=4)
    draw(folder / "lonely", ["0", "1"], images=4)
    draw(folder / "lonely", ["4"], images=1)
    image = (folder / "good" / "0" / "0.png").read_bytes()
    middle = len(image) // 2
    contents = (
        image[:middle] + b"\0" * 20 + image[middle + 20 :],
        image[:middle],
        b"",
        GIGANTIC,
        b"a letter, not a photo",
    )
    for name, content in zip(BAD_IMAGES, contents, strict=True):
        draw(folder / name, ["0"], images=3)
        draw(folder / name, ["1"], images=2)
        (folder / name / "1" / name).write_bytes(content)
    tensors = weights.read_bytes()
    (folder / "small.safetensors").write_bytes(tensors)
    (folder / "truncated.safetensors").write_bytes(tensors[:-100])
    (folder / "tampered.safetensors").write_bytes(tensors[:-1] + bytes([tensors[-1] ^ 1]))
    torch.save({"weight": torch.ones(3)}, folder / "pickled.pt")
    return folder


TRAIN = "--network modern --input-size 63 --epochs 1 --batch-size 2"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("predict truncated.safetensors good/0/0.png", 3, "is truncated"),
        ("predict tampered.safetensors good/0/0.png", 3, "altered or damaged"),
        ("predict pickled.pt good/0/0.png", 3, "is a pickle"),
        (
            "predict small.safetensors -",
            2,
            "'-': standard input and addresses are not read; give image files or folders",
        ),
        ("predict small.safetensors https://a.b/c.jpg", 2, "'https://a.b/c.jpg': standard input and addresses"),
        ("check https://a.b/c.zip", 3, "addresses are not read; download the data"),
        ("train good --label-column species", 2, "--label-column species goes with a table"),
        ("explain truncated.safetensors good/0/0.png --out pictures", 3, "is truncated"),
        ("explain small.safetensors good/0/0.png", 2, "name a folder: --out FOLDER"),
        ("explain small.safetensors --out pictures", 2, "give images, or DATA with --data"),
        ("explain small.safetensors good/0/0.png --out good", 2, "good holds '0'"),
        ("explain small.safetensors good/0/0.png --out pictures --label 5", 2, "unknown label '5'"),
        ("explain small.safetensors good/0/0.png --out pictures --layer conv9", 2, "unknown layer of modern 'conv9'"),
        ("explain small.safetensors text.jpg/1/text.jpg --out pictures", 3, "text.jpg/1/text.jpg: not an image"),
        ("explain small.safetensors nothing.jpg --out pictures", 3, "nothing.jpg: "),
        ("explain small.safetensors good/0/0.png --data nowhere --out pictures", 3, "no such folder or file"),
        ("explain small.safetensors --data digits --out pictures", 3, "classes that the network does not know"),
        ("explain small.safetensors good/0/0.png --out small.safetensors/pictures", 1, "small.safetensors/pictures"),
        ("summary modren", 2, "did you mean 'modern'?"),
        ("train good --recipe modren", 2, "did you mean 'modern'?"),
        ("train good --epoch 3", 2, "No such option: --epoch"),
        ("train good --epochs 0", 2, "epochs is 0"),
        ("train good --network modern --input-size 63 --batch-size 1000", 2, "larger than the"),
        ("train good --network modern --input-size 62", 2, "63"),
        ("summary modern --input-size 62", 2, "63"),
        (f"train lonely {TRAIN}", 3, "'4'"),
        *((f"train {name} {TRAIN} --max-bad 0", 3, f"1/{name}: ") for name in BAD_IMAGES),
        *((f"pack {name} --max-bad 0", 3, f"1/{name}: ") for name in BAD_IMAGES),
        (f"train good {TRAIN} --out small.safetensors/run", 1, "cannot write small.safetensors/run"),
        (f"train good {TRAIN} --out /proc/run", 1, "cannot write /proc/run"),
        ("pack good --size 72 --out small.safetensors/store", 1, "small.safetensors/store: "),
        ("pack good --size 72 --out /proc/store", 1, "cannot write /proc/store"),
    ],
)
def test_bad_input_gets_its_exit_code_one_line_and_nothing_written(
    line: str, code: int, said: str, bad: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bad)
    before = sorted(bad.rglob("*"))
    assert cli.main(line.split()) == code
    out, err = capsys.readouterr()
    (reason,) = (each for each in err.splitlines() if each.startswith("alexnet: "))
    assert said in reason
    assert err.endswith(f"{reason}\n")
    assert "Traceback" not in err
    assert out == ""
    assert sorted(bad.rglob("*")) == before


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_predict_answers_for_the_good_ones_beside_a_bad_image(
    name: str, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(bad / "small.safetensors"), str(bad / name), "--json"]) == 3
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert [answer["path"] for answer in answers if answer["error"]] == [str(bad / name / "1" / name)]
    assert sum(len(answer["predictions"]) == 3 for answer in answers) == 5
    assert err.startswith(f"alexnet: {bad / name / '1' / name}: ")
    assert err.count("\n") == 1


def test_predict_keeps_the_answers_beside_folders_without_images_or_that_cannot_be_read(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none" / "below").mkdir(parents=True)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    asked = [tmp_path / "none", bad / "good" / "0" / "0.png", tmp_path / "circle", bad / "good" / "1"]
    assert cli.main(["predict", str(bad / "small.safetensors"), *map(str, asked), "--json"]) == 3
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert [bool(answer["error"]) for answer in answers] == [True, False, True, False, False, False, False]
    lines = err.splitlines()
    assert lines[0] == f"alexnet: {tmp_path / 'none'}: a folder without images"
    assert lines[1].startswith(f"alexnet: {tmp_path / 'circle'}: cannot be read: ")
    assert len(lines) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_predict_keeps_the_answers_beside_a_locked_sub_folder(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], draw: Callable[..., None]
) -> None:
    draw(tmp_path / "photos", ["0", "1"], images=2)
    (tmp_path / "photos" / "0").chmod(0)
    assert cli.main(["predict", str(bad / "small.safetensors"), str(tmp_path / "photos"), "--json"]) == 3
    (tmp_path / "photos" / "0").chmod(0o700)
    out, err = capsys.readouterr()
    assert [bool(answer["error"]) for answer in json.loads(out)] == [True, False, False]
    assert err == f"alexnet: {tmp_path / 'photos' / '0'}: cannot be read: Permission denied\n"


def test_names_that_are_no_text_are_printed_all_the_same(
    bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(f"{name}.png").write_bytes((bad / "good" / "0" / "0.png").read_bytes())
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", write_through=True) for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    code = cli.main(["predict", str(bad / "small.safetensors"), f"{name}.png", f"{name}.jpg"])
    said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert code == 3
    assert said.startswith(f"{tmp_path}/caf\\udce9.png\n")
    assert f"{tmp_path}/caf\\udce9.jpg: " in complained
    assert "Traceback" not in complained
