"""The made-up photos of many classes."""

from pathlib import Path

import many_classes
from alexnet.data.check import check
from alexnet.data.sources import open_source


def test_the_set_has_so_many_classes_of_different_photos(tmp_path: Path) -> None:
    many_classes.write(tmp_path / "photos", classes=3, images=4)
    report = check(open_source(str(tmp_path / "photos")))
    assert (len(report.classes), report.usable, report.duplicates) == (3, 12, [])
