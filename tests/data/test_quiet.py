"""libtiff is silent while we read, and speaks again afterwards."""

import io
from pathlib import Path

import pytest
from PIL import Image

import messy_folder
from alexnet.data.images import inspect
from alexnet.data.images.quiet import HANDLERS, _setters


@pytest.fixture
def torn() -> bytes:
    """A TIFF file of which a compressed strip is damaged."""
    whole = messy_folder.encoded(messy_folder.drawn("bars", "torn"), "TIFF", compression="tiff_adobe_deflate")
    return messy_folder.damaged(whole)


def test_damage_is_told_in_our_words_alone(torn: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "torn.tif").write_bytes(torn)
    assert inspect(tmp_path / "torn.tif").error == "truncated or damaged: its pixels cannot be decoded"
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(len(_setters()) < len(HANDLERS), reason="this Pillow hides libtiff's functions")
def test_other_users_of_pillow_hear_libtiff_as_before(torn: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    inspect(torn)
    with pytest.raises(OSError, match="decoder error"):
        Image.open(io.BytesIO(torn)).load()
    assert "ZIPDecode" in capfd.readouterr().err
