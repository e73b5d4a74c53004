"""Tables as people write them: the encoding, the separator, and which column holds what."""

import csv
import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.samples import normal_name, some_names
from alexnet.data.sources.parts import part_named
from alexnet.errors import DataError

log = logging.getLogger(__name__)

FORM = "a header line path,label or path,label,split is needed, in UTF-8 or UTF-16"
SEPARATORS = (",", ";", "\t", "|")

# Accepted names of columns, without case, spaces, hyphens and underscores; the first ones are preferred.
PATH_NAMES = (
    *("path", "filepath", "file", "filename", "image", "imagepath", "imagefile", "imagename", "images"),
    *("img", "imgpath", "imgfile", "imgname", "imageid", "imgid", "photo", "picture", "id"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "classname", "classlabel", "labelname", "target", "category", "categoryname"),
    *("species", "breed", "diagnosis", "dx", "groundtruth"),
)
YES, NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}
_IS = re.compile(r"is[\s_\-]?(?=[^\W_])", re.IGNORECASE)
SPLIT_NAMES = ("split", "set", "fold", "subset", "partition", "part", "phase")


@dataclass(frozen=True)
class Table:
    """A table's cells, all as text without blanks at their ends."""

    file: Path
    columns: list[str]  # as they are written
    rows: dict[int, list[str]]  # line number -> a cell for each column

    def column(self, index: int) -> list[str]:
        """The cells of one column."""
        return [cells[index] for cells in self.rows.values()]


def read_table(file: Path) -> Table:
    """The cells of a file of separated values: comma, semicolon, tab or bar; UTF-8 or UTF-16; quotes as in RFC 4180.

    Blank lines are left out. Raises DataError, with the line number, for malformed lines.
    """
    text = _text(file)
    named = re.match(r"sep=(.)\r?\n", text)  # as Excel writes it
    skipped, text = (1, text[named.end() :]) if named else (0, text)
    separator = named[1] if named else _separator(re.split(r"[\r\n]", text, maxsplit=1)[0])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        columns = [normal_name(column.strip()) for column in next(reader, [])]
        numbered = [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{file} cannot be read as CSV ({error}); {FORM}") from error
    rows = {line: row for line, row in numbered if any(row)}
    for line, row in rows.items():
        if len(row) != len(columns):
            raise DataError(
                f"{file}, line {line}: {len(row)} cells under {len(columns)} columns; "
                f"put cells that hold {separator!r} into double quotes"
            )
    return Table(file, columns, rows)


def find_columns(table: Table, names: Sequence[str], kind: str) -> list[int]:
    """The columns with one of these names, the preferred first; the very first name alone where it is there.

    Raises DataError for two columns of one name.
    """
    found = []
    for name in names:
        same = [index for index, column in enumerate(table.columns) if _key(column) == name]
        if len(same) > 1:
            raise DataError(f"{table.file} has the column {kind} {len(same)} times; {FORM}")
        if same and name == names[0]:
            return same
        found += same
    return found


def named_column(table: Table, name: str) -> int:
    """The column that a user names, in any case. DataError if there is none, or several."""
    for key in (str, str.casefold, _key):
        same = [index for index, column in enumerate(table.columns) if key(column) == key(normal_name(name))]
        if len(same) == 1:
            return same[0]
    raise DataError(f"{table.file} has no column {name!r}; it has {some_names(table.columns, 20)}")


def one_hot_columns(table: Table, taken: Sequence[int]) -> list[int]:
    """The columns that hold nothing but 0 and 1, or false and true, without those that are taken."""
    return [index for index in range(len(table.columns)) if index not in taken and _is_yes_or_no(table, index)]


def is_yes(cell: str) -> bool:
    """Whether a cell of such a column says yes."""
    return cell.casefold() in YES


def flag_as_split(table: Table, label_column: str | None = None) -> Table:
    """The table with a column such as is_valid, of yes and no, as the column of parts, where it has no other.

    label_column: the column that the user names as the labels', which is no flag. Of is_train what is no is for
    testing; of is_valid and is_test it is for training.
    """
    parts = {index: part_named(_IS.sub("", column)) for index, column in enumerate(table.columns) if _IS.match(column)}
    flags = [index for index, part in parts.items() if part and _is_yes_or_no(table, index)]
    flags = [index for index in flags if label_column is None or _key(table.columns[index]) != _key(label_column)]
    if len(flags) != 1 or find_columns(table, SPLIT_NAMES, "split"):
        return table
    flag, part = flags[0], parts[flags[0]]
    other = "test" if part == "train" else "train"
    log.info("%s: images of which %s is true are %s, all others %s", table.file, table.columns[flag], part, other)
    columns = [SPLIT_NAMES[0] if index == flag else column for index, column in enumerate(table.columns)]
    rows = {
        line: [*cells[:flag], part if is_yes(cells[flag]) else other, *cells[flag + 1 :]]
        for line, cells in table.rows.items()
    }
    return Table(table.file, columns, rows)


def _is_yes_or_no(table: Table, index: int) -> bool:
    return bool(table.rows) and {cell.casefold() for cell in table.column(index)} <= YES | NO


def _key(column: str) -> str:
    return re.sub(r"[\s_\-]", "", column).casefold()


def _separator(header: str) -> str:
    """The one under which the header has a column of paths, else the one that makes most columns."""

    def rank(separator: str) -> tuple[bool, int]:
        cells = next(csv.reader([header], delimiter=separator), [])
        return any(_key(cell) in PATH_NAMES for cell in cells) and len(cells) > 1, len(cells)

    return max(SEPARATORS, key=rank)


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; check its permissions") from error
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read as CSV ({error}); save it as UTF-8: {FORM}") from error


def _encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in content[:2]:  # UTF-16 without its mark: half of each Latin letter is zero
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    return "utf-8-sig"
