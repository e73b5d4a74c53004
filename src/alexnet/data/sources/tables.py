"""Sources from CSV files that list images."""

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from alexnet.data.samples import Source
from alexnet.data.sources.folders import SPLIT_NAMES, labelled_source
from alexnet.errors import DataError

log = logging.getLogger(__name__)

Row: TypeAlias = tuple[str, str, str]  # path, label, split

CSV_FORM = "a header line path,label or path,label,split is needed, in UTF-8, separated by commas"


def read_csv(file: Path) -> Source:
    """The images listed in a CSV file with the header `path,label[,split]`.

    Paths are relative to the CSV's own folder, or absolute. Other columns are ignored. An empty split: none
    given. Repeated lines of a file are dropped with a warning.
    Raises DataError, with the line number, for malformed lines, missing files and files listed with two labels or
    splits.
    """
    lines = {line: _sample(f"{file}, line {line}", row) for line, row in _rows(file)}
    if not lines:
        raise DataError(f"{file} lists no images; write a line for each under the header path,label[,split]")
    _refuse_missing(file, lines)
    found = _without_repeats(file, lines)
    return labelled_source(file.stem, file.parent, {label for _, label, _ in found}, found, [])


def _refuse_missing(file: Path, lines: dict[int, Row]) -> None:
    missing = [line for line, (path, _, _) in lines.items() if not (file.parent / path).is_file()]
    if missing:
        raise DataError(
            f"{file}: {len(missing)} of {len(lines)} files do not exist, the first in line {missing[0]}: "
            f"{lines[missing[0]][0]!r}; paths start from {file.parent.resolve()}"
        )


def _without_repeats(file: Path, lines: dict[int, Row]) -> list[Row]:
    """The first row of each file: a path identifies an image, as in a run's split.csv."""
    first: dict[str, int] = {}  # line number by normalized path
    for line, (path, label, split) in lines.items():
        earlier = first.setdefault(os.path.normpath(file.parent / path), line)
        if lines[earlier][1:] != (label, split):
            listing = " and ".join(f"{lines[n][1]!r}, split {lines[n][2]!r}, in line {n}" for n in (earlier, line))
            raise DataError(f"{file}: {path!r} is listed as {listing}; remove the line that is wrong")
    if repeated := len(lines) - len(first):
        log.warning("%s: %d lines repeat an earlier one; each image is taken once", file, repeated)
    return [lines[line] for line in first.values()]


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, cells by column) of each non-blank row."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            columns = _columns(file, next(reader, []))
            for row in reader:
                if row and len(row) != len(columns):
                    raise DataError(
                        f"{file}, line {reader.line_num}: {len(row)} cells under {len(columns)} columns; "
                        "put cells that hold a comma into double quotes"
                    )
                if row:
                    yield reader.line_num, dict(zip(columns, (cell.strip() for cell in row), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as CSV ({error}); {CSV_FORM}") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; check its permissions") from error


def _columns(file: Path, header: list[str]) -> list[str]:
    columns = [column.strip().casefold() for column in header]
    if missing := [column for column in ("path", "label") if column not in columns]:
        raise DataError(f"{file} has no column {' and no '.join(missing)} in its first line {header}; {CSV_FORM}")
    for column in ("path", "label", "split"):
        if columns.count(column) > 1:
            raise DataError(f"{file} has the column {column} {columns.count(column)} times; {CSV_FORM}")
    return columns


def _sample(where: str, row: dict[str, str]) -> Row:
    for column in ("path", "label"):
        if not row[column]:
            raise DataError(f"{where}: the {column} is empty; fill it in or remove the line")
    split = row.get("split", "")
    if split and split.casefold() not in SPLIT_NAMES:
        raise DataError(f"{where}: split {split!r} is none of {', '.join(SPLIT_NAMES)}, or empty")
    return row["path"], row["label"], SPLIT_NAMES.get(split.casefold(), "")
