"""A published model's page: README.md with metadata for the hub and the facts for people, from readme.md.j2."""

import re
from typing import TYPE_CHECKING

from alexnet.evaluation.metrics import most_confused
from alexnet.sharing.licences import UNSTATED
from alexnet.sharing.material import Material
from alexnet.weights.hub_client import client

if TYPE_CHECKING:
    from jinja2 import Template

WHOLE_MATRIX = 20  # classes up to which the page shows the whole confusion matrix
ROWS = 100  # classes up to which it has a row for each
TASK = "image-classification"
MEASURES = ("top-1 accuracy", "top-5 accuracy", "macro-F1", "expected calibration error")


def readme(found: Material, repository: str, licence: str) -> str:
    """The page as Markdown with its metadata. repository: "owner/name". licence: as the hub calls it."""
    return _template().render(
        metadata=_metadata(found, repository, licence),
        name=repository,
        licence=licence,
        card=found.card,
        data=found.data,
        scores=found.scores,
        measures=_measures(found),
        images=found.card.training.get("images", {}),
        recipe=found.card.training.get("recipe", {}),
        epoch=found.card.training.get("epoch"),
        version=found.version,
        unstated=licence in UNSTATED,
        fitted=_fitted(found),
        folds=found.folds,
        worst=most_confused(found.scores["confusion"], found.card.class_names),
        whole_matrix=found.card.num_classes <= WHOLE_MATRIX,
        rows=found.card.num_classes <= ROWS,
    )


def _fitted(found: Material) -> int | None:
    """The number of images from which the temperature was found; None where the card does not tell."""
    measured = found.card.calibration.measured if found.card.calibration else {}
    images = measured.get("images")
    return images.get("val") if isinstance(images, dict) else None


def _measures(found: Material) -> dict[str, float]:
    """The scores by name, 0..1: top-5 of more than five classes, and what holds of the weights as they are.

    A run that was calibrated after its end measured its calibration error at another temperature.
    """
    scores, calibration = found.scores, found.card.calibration
    names = dict(zip(("top1", "top5", "macro_f1", "ece"), MEASURES, strict=True))
    if found.card.num_classes <= 5:
        names.pop("top5")
    if (scores.get("temperature") or 1.0) != (calibration.temperature if calibration else 1.0):
        names.pop("ece")
    return {name: scores[key] for key, name in names.items() if scores.get(key) is not None}


def _metadata(found: Material, repository: str, licence: str) -> str:
    """The YAML at the head of the page: licence, task, and the scores as the hub's model-index."""
    hub = client()
    kinds = dict(zip(MEASURES, ("accuracy", "accuracy", "f1", "ece"), strict=True))
    results = [
        hub.EvalResult(
            task_type=TASK,
            dataset_type=re.sub(r"[^\w.-]+", "-", found.data),
            dataset_name=found.data,
            dataset_split=found.scores["split"],
            metric_type=kinds[name],
            metric_name=name,
            metric_value=round(value, 6),
        )
        for name, value in _measures(found).items()
    ]
    data = hub.ModelCardData(
        license=licence,
        library_name="alexnet",
        pipeline_tag=TASK,
        tags=["alexnet", found.card.network],
        model_name=repository.rpartition("/")[2],
        eval_results=results,
    )
    return str(data.to_yaml())


def _template() -> "Template":
    """Imports jinja2 on first use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alexnet.sharing", ""),
        autoescape=False,  # Markdown; what is foreign goes through `cell`
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.2f} %"
    environment.filters["cell"] = _cell
    return environment.get_template("readme.md.j2")


def _cell(text: object) -> str:
    """Text of others in Markdown and in a table's cell: no markup, no line breaks."""
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#~" else letter for letter in line)
