"""Sources from CSV files that list images."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from alexnet.data.samples import Source, normal_name, some_names
from alexnet.data.sources.columns import (
    FORM,
    LABEL_NAMES,
    PATH_NAMES,
    SPLIT_NAMES,
    Table,
    find_columns,
    flag_as_split,
    is_yes,
    named_column,
    one_hot_columns,
    read_table,
)
from alexnet.data.sources.folders import labelled_source
from alexnet.data.sources.listed import ListedFiles
from alexnet.data.sources.parts import ACCEPTED, part_named
from alexnet.errors import DataError

log = logging.getLogger(__name__)

Row: TypeAlias = tuple[str, str, str]  # path, label, split


def read_csv(file: Path, label_column: str | None = None) -> Source:
    """The images listed in a table with a header line: `path,label[,split]`, or other names for these columns.

    The columns are found by their usual names (`columns.PATH_NAMES`, ...), in any case; label_column names the one of
    the labels. Without a column of labels, columns of 0 and 1, or false and true, alone are classes, one of which is 1
    in each row. A column such as is_valid gives parts. Paths are absolute or relative to the table's folder or to one
    beside it, see `ListedFiles`. Other columns are ignored. An empty split: none given. Repeated lines of a file are
    dropped with a warning. Logs whatever is not as above.
    Raises DataError, with the line number, for malformed lines, missing files and files listed with two labels or
    splits.
    """
    found = _listed(read_table(file), label_column)
    return labelled_source(file.stem, file.parent, {label for _, label, _ in found}, found, [])


def read_tables(files: Sequence[Path], label_column: str | None = None) -> Source:
    """The images of several tables, each as in `read_csv`; paths become relative to the first one's folder.

    A table named after a part, such as train.csv, gives it to its images where they have none of their own. A table of
    paths and parts alone gives these to images that the others list. Raises DataError as `read_csv` does.
    """
    if len(files) == 1:
        return read_csv(files[0], label_column)
    first, tables = files[0], [read_table(file) for file in files]
    parts = {path: part for each in tables if _is_of_parts(each) for path, _, part in _moved(_parts(each), each, first)}
    labelled = [each for each in tables if not _is_of_parts(each)]
    rows = [(each.file.name, row) for each in labelled for row in _moved(_listed(each, label_column), each, first)]
    if unknown := parts.keys() - {path for _, (path, _, _) in rows}:
        raise DataError(f"{len(unknown)} images have a part but no label, the first {min(unknown)!r}; list all of them")
    found = _without_repeats(
        first, [(name, (path, label, parts.get(path, part))) for name, (path, label, part) in rows]
    )
    return labelled_source(first.stem, first.parent, {label for _, label, _ in found}, found, [])


def _listed(table: Table, label_column: str | None) -> list[Row]:
    """The rows of a table, each image once."""
    files = ListedFiles(table.file.parent, part_named(table.file.stem))
    path, table = _path_column(table, files), flag_as_split(table, label_column)
    split = _split_column(table, path)
    labels = _labels(table, path, split, label_column)
    lines = {line: _row(table, line, path, labels(line), split) for line in table.rows}
    if not lines:
        raise DataError(f"{table.file} lists no images; write a line for each under the header path,label[,split]")
    located = _located(table.file, files, lines)
    return _without_repeats(table.file, [(f"line {line}", row) for line, row in located.items()])


def _is_of_parts(table: Table) -> bool:
    """Whether a table has columns of paths and parts, and none of labels."""
    split = find_columns(table, SPLIT_NAMES, "split")
    rest = len(one_hot_columns(table, split)) < 2 and not find_columns(table, LABEL_NAMES, "label")
    return bool(split) and rest


def _parts(table: Table) -> list[Row]:
    """The rows of a table of paths and parts, with the part in the label's place, too."""
    return _listed(table, table.columns[find_columns(table, SPLIT_NAMES, "split")[0]])


def _moved(rows: Sequence[Row], table: Table, first: Path) -> list[Row]:
    """The rows of a table with paths as from beside the first one, and its name's part where they have none."""
    folder, own = table.file.parent, part_named(table.file.stem)
    return [(os.path.relpath(folder / path, first.parent), label, part or own) for path, label, part in rows]


# --- columns ---


def _path_column(table: Table, files: ListedFiles) -> int:
    """The column of paths; of several the first under which the first image is found."""
    candidates = find_columns(table, PATH_NAMES, "path")
    if not candidates:
        label = "" if find_columns(table, LABEL_NAMES, "label") else " and no label"
        raise DataError(f"{table.file} has no column path{label} in its first line {table.columns}; {FORM}")
    first = next(iter(table.rows.values()), None)
    if len(candidates) > 1 and first is not None:
        return next((index for index in candidates if first[index] and files.holds(first[index])), candidates[0])
    return candidates[0]


def _split_column(table: Table, path: int) -> int | None:
    """The column of parts. One of another name than "split" that holds other values is ignored with a warning."""
    candidates = [index for index in find_columns(table, SPLIT_NAMES, "split") if index != path]
    for index in candidates:
        cells = {cell for cell in table.column(index) if cell}
        strange = sorted(cell for cell in cells if not part_named(cell))
        if not strange or table.columns[index].casefold() == "split":
            return index
        if len(strange) < len(cells):
            raise DataError(
                f"{table.file}: the column {table.columns[index]} holds {some_names(strange)} beside names of parts; "
                f"write {ACCEPTED}, or rename the column"
            )
        log.warning(
            "%s: the column %s gives no parts: it holds %s, not %s",
            *(table.file, table.columns[index], some_names(strange), ACCEPTED),
        )
    return None


def _labels(table: Table, path: int, split: int | None, wanted: str | None) -> Callable[[int], str]:
    """A function that gives the label of a line."""
    index = named_column(table, wanted) if wanted else _label_column(table, [path, split])
    if index is None:
        taken = [each for each in (path, split) if each is not None]
        return _one_hot(table, one_hot_columns(table, taken))
    if index == path:
        raise DataError(f"{table.file}: the column {table.columns[index]} holds the paths; name the one of the labels")
    if table.columns[index].casefold() != "label" or table.columns[path].casefold() != "path":
        log.info("%s: images from column %s, labels from %s", table.file, table.columns[path], table.columns[index])
    return lambda line: table.rows[line][index]


def _label_column(table: Table, taken: list[int | None]) -> int | None:
    """The column of labels; None where there is none but columns of 0 and 1."""
    candidates = [index for index in find_columns(table, LABEL_NAMES, "label") if index not in taken]
    if len(candidates) > 1:
        names = some_names([table.columns[index] for index in candidates], 6)
        raise DataError(
            f"{table.file} has several columns that may hold the labels: {names}; choose one: --label-column NAME, or "
            f"{table.file.name}:NAME"
        )
    free = [index for index in range(len(table.columns)) if index not in taken]
    if not candidates and len(one_hot_columns(table, [each for each in taken if each is not None])) < 2:
        others = f", or choose one of {some_names([table.columns[index] for index in free], 6)}: --label-column NAME"
        raise DataError(
            f"{table.file} has no column label in its first line {table.columns}; {FORM}{others if free else ''}"
        )
    return candidates[0] if candidates else None


def _one_hot(table: Table, columns: list[int]) -> Callable[[int], str]:
    """The label of a line as the name of its one column that is 1."""
    names = [table.columns[index] for index in columns]
    log.info("%s: each of the columns %s is a class", table.file, some_names(names, 12))

    def label(line: int) -> str:
        ones = [table.columns[index] for index in columns if is_yes(table.rows[line][index])]
        if len(ones) == 1:
            return ones[0]
        wrong = f"several classes, {some_names(ones)}" if ones else f"none of the classes {some_names(names)}"
        raise DataError(f"{table.file}, line {line}: {wrong}; set exactly one column to 1, or remove the line")

    return label


# --- rows ---


def _row(table: Table, line: int, path: int, label: str, split: int | None) -> Row:
    where, cells = f"{table.file}, line {line}", table.rows[line]
    for kind, cell in (("path", cells[path]), ("label", label)):
        if not cell:
            raise DataError(f"{where}: the {kind} is empty; fill it in or remove the line")
    given = "" if split is None else cells[split]
    if given and not part_named(given):
        raise DataError(f"{where}: split {given!r} is none of {ACCEPTED}, or empty")
    return cells[path], normal_name(label), part_named(given)


def _located(file: Path, files: ListedFiles, lines: dict[int, Row]) -> dict[int, Row]:
    """The rows with the paths under which their files are found."""
    found = {}
    for line, (path, label, split) in lines.items():
        try:
            found[line] = (files.find(path), label, split)
        except DataError as error:
            raise DataError(f"{file}, line {line}: {error}") from error
    missing = [line for line, (path, _, _) in found.items() if not path]
    if missing:
        first = lines[missing[0]][0]
        written = "; write it as from there, with / in place of \\" if "\\" in first else ""
        raise DataError(
            f"{file}: {len(missing)} of {len(lines)} files do not exist, the first in line {missing[0]}: "
            f"{first!r}; paths start from {file.parent.resolve()} or from a folder images in it{written}"
        )
    if files.ways:
        log.info("%s: found %s", file, ", ".join(f"{count:,} images {way}" for way, count in files.ways.items()))
    return found


def _without_repeats(name: Path, places: Sequence[tuple[str, Row]]) -> list[Row]:
    """The first row of each file: a path identifies an image, as in a run's split.csv. places: (where, row)."""
    first: dict[str, tuple[str, Row]] = {}  # by normalized path
    for place, row in places:
        earlier, known = first.setdefault(os.path.normpath(name.parent / row[0]), (place, row))
        if known[1:] != row[1:]:
            listing = " and ".join(
                f"{r[1]!r}, split {r[2]!r}, in {where}" for where, r in ((earlier, known), (place, row))
            )
            raise DataError(f"{name}: {row[0]!r} is listed as {listing}; remove the line that is wrong")
    if repeated := len(places) - len(first):
        log.warning("%s: %d lines repeat an earlier one; each image is taken once", name, repeated)
    return [row for _, row in first.values()]
