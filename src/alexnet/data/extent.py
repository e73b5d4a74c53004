"""What the stored form makes of a set of images: the area that a crop cuts off, and the range of their values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alexnet.data.form import CROPPING, Form
from alexnet.data.images import ValueRange, Values
from alexnet.data.images.pixels import EIGHT_BITS, WHITE_8
from alexnet.data.value_range import range_text

LOST = 1 / 3  # share of an image's area, and of the images: more than this is worth a word
USED = 1 / 4  # share of a range of values: less than this is, too; 14 bits of 16 use as much
EXAMPLES = 3


@dataclass
class Used:
    """The values of all images of one kind."""

    low: float
    high: float
    white: float  # the largest of the images' `Values.white`
    images: int = 0
    usual: ValueRange | None = None  # over the images' `Values.usual`; None in stores of earlier versions

    @property
    def most(self) -> ValueRange:
        """The range of the values; that of the usual ones where it is at most half as wide: the rest are outliers."""
        usual = self.usual
        if usual is None or usual[0] == usual[1] or 2 * (usual[1] - usual[0]) > self.high - self.low:
            return self.low, self.high
        return usual

    def add(self, values: Values) -> None:
        """Count one image."""
        self.images += 1
        self.low, self.high = min(self.low, values.low), max(self.high, values.high)
        self.white = max(self.white, values.white)
        usual = values.usual or (values.low, values.high)
        low, high = self.usual or usual
        self.usual = min(low, usual[0]), max(high, usual[1])


@dataclass
class Extent:
    """Counts over a set of images, in constant memory."""

    images: int = 0
    cropped: int = 0  # that lose more than a third of their area to the centre crop, whatever the fit is
    examples: list[str] = field(default_factory=list)  # paths of the first of them
    used: dict[str, Used] = field(default_factory=dict)  # by `Values.kind`

    def add(self, path: str, width: int, height: int, values: Values) -> None:
        """Count one image, of width x height pixels."""
        self.images += 1
        if 3 * (min(width, height) + 1) < 2 * max(width, height):  # 3:2, the commonest, is often rounded: 500 x 333
            self.cropped += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(path)
        self.used.setdefault(values.kind, Used(values.low, values.high, values.white)).add(values)

    def full_range(self) -> ValueRange | None:
        """The lowest and highest value of all images but those of 8 bits; of those where there are no others.

        Where a few pixels lie far outside of the others (`Used.most`), the range of the others, widened to what their
        bits can hold. None for one value alone.
        """
        found = [used for kind, used in self.used.items() if kind != EIGHT_BITS] or list(self.used.values())
        ranges = [(used.low, used.high) if used.most == (used.low, used.high) else _suggested(used) for used in found]
        low, high = min((each[0] for each in ranges), default=0), max((each[1] for each in ranges), default=0)
        return (low, high) if low < high else None

    def outliers(self) -> ValueRange | None:
        """The lowest and highest value, where `full_range` leaves outliers out."""
        found = [used for kind, used in self.used.items() if kind != EIGHT_BITS]
        if all(used.most == (used.low, used.high) for used in found):
            return None
        return min(used.low for used in found), max(used.high for used in found)

    def warnings(self, form: Form) -> list[str]:
        """What needs care where more than a third of the images are concerned: a line each."""
        return self.lines(form) if self.cropped > LOST * self.images else self.value_lines(form.value_range)

    def lines(self, form: Form) -> list[str]:
        """What needs care, however few images are concerned: a line each."""
        crop = [self._crop_line()] if form.fit in CROPPING and self.cropped else []
        return [*crop, *self.value_lines(form.value_range)]

    def _crop_line(self) -> str:
        """How many images lose much by the centre crop, and what keeps it."""
        return (
            f"{self.cropped:,} of {self.images:,} images lose more than a third of their area to the centre crop, for "
            f"example {', '.join(self.examples)}; --fit pad keeps all of it in its proportions, --fit warp all of it "
            "squashed to a square"
        )

    def value_lines(self, value_range: ValueRange | None) -> list[str]:
        """A line for each kind of image that uses a small part of its range of values, or lies outside of it."""
        lines = (_value_line(kind, used, value_range) for kind, used in self.used.items())
        return [line for line in lines if line]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of numbers and texts."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Extent":
        """The inverse of `to_json`."""
        used = {kind: Used(**each) for kind, each in values["used"].items()}
        for each in used.values():
            each.usual = None if each.usual is None else (each.usual[0], each.usual[1])
        return cls(**{**values, "used": used})


def _value_line(kind: str, used: Used, value_range: ValueRange | None) -> str | None:
    """The line for one kind of image; None where it needs none."""
    if value_range is not None and kind == EIGHT_BITS and value_range[1] > WHITE_8:
        return None  # such images are left as they are
    black, white = value_range or (0, used.white)
    low, high = used.most
    shown = min(high, white) - max(low, black)
    found = f"the {kind} images ({used.images:,}) have values from {used.low:.12g} to {used.high:.12g}"
    if (low, high) != (used.low, used.high):
        found += f", nearly all of them from {low:.12g} to {high:.12g}"
    if low < high and shown <= USED * (white - black):
        return (
            f"{found}, a small part of {range_text((black, white), ' to ')}, so that they are seen in few gray levels; "
            f"train with --value-range {range_text(_suggested(used))}, or auto"
        )
    if value_range is not None and (used.low < black or used.high > white):
        return f"{found}; those outside {range_text(value_range, ' to ')} become black or white"
    return None


def _suggested(used: Used) -> ValueRange:
    """The values found; for integers from about 0 up all that their number of bits can hold, 0,4095 for 12."""
    low, high = used.most
    if isinstance(high, int) and 0 <= low <= high / 4:
        return 0, 2 ** high.bit_length() - 1
    return low, high
