"""Explain a trained network: pictures of what it learned and of why it answers as it does, and one page of them."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.data.images import Pixels
from alexnet.data.samples import normal_name
from alexnet.errors import DataError, ImageError, UsageError, unknown_name
from alexnet.explain.activations import check_layer, last_map_layer
from alexnet.files import read_json, refuse_strangers, whole_folder, write_json
from alexnet.inference.classifier import Classifier, load
from alexnet.inference.gallery import (
    Part,
    evenly_spaced_examples,
    given_examples,
    of_data,
    of_examples,
    of_the_network,
    parts,
    without_data,
)
from alexnet.inference.inputs import as_path
from alexnet.inference.parts import Labelled, check_split, no_place, open_data, place_in_run, run_of, some
from alexnet.plots.page import Picture, Table, page

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

IMAGES_UP_TO = 16  # of the caller
FACTS = "explain.json"
FORMAT = "alexnet explain"


def explain(
    model: str | os.PathLike[str],
    images: Sequence[Path] = (),
    data: str | None = None,
    split: str | None = None,
    label: str | None = None,
    out: Path | None = None,
    layers: Sequence[str] = (),
    device: str = "auto",
    progress: Progress | None = None,
    include_trained: bool = False,
) -> dict[str, Any]:
    """Write the pictures and the page into a folder, which appears whole or not at all.

    model: as for `load`. images: at most 16; without any, eight images of the data are shown.
    data: as in `named_store`; None: what the run was trained on. split, include_trained: as in `evaluate`. label: the
    class that occlusion and Grad-CAM explain; None: the most probable class of each image. layers: those whose most
    exciting images are searched; none: the last maps. out: None: explain/ in the run's folder. Everything is computed
    in float32, as `evaluate` does.
    Returns {"model", "data", "split", "folder", "page", "pictures": [{"name", "title", "file"}],
    "left_out": [{"title", "reason"}]}, and writes the page's list of files beside it. Raises UsageError and DataError
    as `evaluate` does, ImageError for an image that cannot be read, all before anything is written.
    """
    check_split(split)
    model = as_path("model", model)
    if len(images) > IMAGES_UP_TO:
        raise UsageError(f"{len(images)} images are too many for one page; give at most {IMAGES_UP_TO}")
    classifier = load(model, device, "float32")
    folder = _folder(model, out)
    layers = _layers(classifier, layers)
    wanted = None if label is None else _label(classifier, label)
    given = [_read(path, classifier) for path in images]
    data, found, absent = _data(data, classifier, bool(given), progress)
    if found is None and not given:
        raise UsageError(f"{absent}; give images, or DATA with --data")
    if found is not None:
        rows = found.rows(split, include_trained)  # refuses a part without images
        split = split or found.best_part()
    about = {"model": str(model), "data": data if found else None, "split": split if found else None}
    left_out: dict[str, str] = {} if found else without_data(absent)
    with whole_folder(folder.resolve()) as beside:  # so that a link is not replaced
        part, train = parts(classifier, found, rows, layers, progress) if found else (None, None)
        examples = (
            given_examples(classifier, images, given)
            if given or part is None
            else evenly_spaced_examples(part, classifier)
        )
        drawn = [*_told([of_the_network(classifier)]), *_told(of_examples(classifier, examples, wanted, progress))]
        if part is not None:
            drawn += _told(of_data(classifier, examples, part, train, layers, left_out))
        _write(beside, drawn, _facts(classifier, about, part, train), left_out, about)
    files = [{"name": p.name, "title": p.title, "file": str(folder / f"{p.name}.png")} for p in _pictures(drawn)]
    reasons = [{"title": title, "reason": reason} for title, reason in left_out.items()]
    page_file = str(folder / "index.html")
    return {**about, "folder": str(folder), "page": page_file, "pictures": files, "left_out": reasons}


# --- model, layers, images, data ---


def _folder(model: Path, out: Path | None) -> Path:
    """The folder to write; UsageError if none was given or it holds files that `explain` did not write."""
    folder = out or place_in_run(model, "explain")
    if folder is None:
        raise UsageError(f"{no_place(model, str(model))}; name a folder: --out FOLDER")
    ours = _written_before(folder)
    refuse_strangers(folder, lambda name: name in ours, "folder of alexnet explain")
    return folder


def _written_before(folder: Path) -> set[str]:
    """The names of the files that an earlier `explain` wrote into the folder, from its explain.json."""
    try:
        facts = read_json(folder / FACTS)
        return {FACTS, *map(str, facts["files"])} if facts["format"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _layers(classifier: Classifier, layers: Sequence[str]) -> list[str]:
    for layer in layers:
        check_layer(classifier.network, layer)
    return list(dict.fromkeys(layers)) or [last_map_layer(classifier.network)]


def _label(classifier: Classifier, label: str) -> int:
    names = list(map(normal_name, classifier.class_names))
    if normal_name(label) not in names:
        known = len(classifier.class_names)
        if known <= 20:
            raise unknown_name("label", label, classifier.class_names)
        raise UsageError(f"unknown label {label!r}: the model knows {known}: {some(classifier.class_names)}")
    return names.index(normal_name(label))


def _read(path: Path, classifier: Classifier) -> Pixels:
    """The image in stored form. ImageError with the file's name if it cannot be read."""
    try:
        return classifier.preprocessing.form.read(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _data(
    data: str | None, classifier: Classifier, has_images: bool, progress: Progress | None
) -> tuple[str | None, Labelled | None, str]:
    """The data's name, the data, and the reason if there is none: the run's own may be missing if images are given."""
    recorded = run_of(classifier.origin) if classifier.origin else None
    if data is None and recorded is None:
        return None, None, f"{classifier.name} is a model without a run that says what it was trained on"
    try:
        name = data or recorded.data  # type: ignore[union-attr]
        return name, open_data(classifier.origin, name, classifier, progress), ""
    except DataError as error:
        if data is not None or not has_images:
            raise
        return None, None, f"the run's own data is not there ({error})"


# --- the folder ---


def _told(drawn: Iterable[Picture | Table]) -> Iterator[Picture | Table]:
    """Each of them, with a line on the log once it is drawn: some take a minute."""
    for each in drawn:
        logger.info("drawn: %s", each.title)
        yield each


def _facts(
    classifier: Classifier, about: Mapping[str, str | None], part: Part | None, train: Part | None
) -> dict[str, str]:
    card = classifier.card
    facts = {
        "model": str(about["model"]),
        "network": f"{card.network}, {card.input_size} px, {card.num_classes} classes",
    }
    if part is not None:
        right = int((part.activations.probabilities.argmax(1) == part.labels).sum())
        share = f"{right:,} of {len(part.rows):,} right ({right / len(part.rows):.1%})"
        facts["data"] = f"{about['data']}, part {about['split']}: {share}; one centre view"
    if train is not None:
        facts["compared with"] = f"{len(train.rows):,} training images"
    return facts


def _write(
    folder: Path,
    drawn: Sequence[Picture | Table],
    facts: Mapping[str, str],
    left_out: Mapping[str, str],
    about: Mapping[str, str | None],
) -> None:
    """Write the pictures, the page, and explain.json, which lists them."""
    text = page(f"Inside {about['model']}", drawn, facts=facts, left_out=left_out)
    pictures = _pictures(drawn)
    files = ["index.html", *(f"{each.name}.png" for each in pictures)]
    for each in pictures:
        (folder / f"{each.name}.png").write_bytes(each.png)
    (folder / "index.html").write_text(text, encoding="utf-8")
    record = {"format": FORMAT, **about, "files": files}
    write_json(folder / FACTS, record)


def _pictures(drawn: Sequence[Picture | Table]) -> list[Picture]:
    return [each for each in drawn if isinstance(each, Picture)]
