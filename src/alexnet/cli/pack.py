"""alexnet pack"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet.cli.options import (
    AsJson,
    Data,
    Exact,
    Fit,
    LabelColumn,
    Merge,
    PartsFolder,
    ShardText,
    ValueRange,
    Workers,
    asked_range,
    division,
    with_column,
)
from alexnet.cli.output import print_json, print_part
from alexnet.console import bar
from alexnet.data.value_range import AUTO
from alexnet.errors import UsageError

if TYPE_CHECKING:
    from alexnet.data.store import Store


def pack(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the store; train and evaluate accept it as DATA.",
            show_default="in the cache, where train and evaluate find it",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of stored images in pixels; must equal train's --store-size.",
            show_default="256; 64 for tiny images",
        ),
    ] = None,
    fit: Fit = None,
    value_range: ValueRange = None,
    exact: Exact = None,
    max_bad: Annotated[
        float | None,
        typer.Option(help="Largest share of unreadable images to skip.", show_default="0.01, or 10 images if more"),
    ] = None,
    label_column: LabelColumn = None,
    workers: Workers = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Verify all checksums of an existing store and write nothing; DATA may be its folder."
        ),
    ] = False,
    shard: ShardText = None,
    merge: Merge = False,
    parts: PartsFolder = None,
    as_json: AsJson = False,
) -> int:
    """Decode every image once into a packed store, which training reads at full speed."""
    from alexnet.data import store as stores
    from alexnet.data.sources import open_source

    divided = division(shard, merge, parts)
    data = with_column(data, label_column)
    asked = (size, fit, asked_range(value_range), exact)
    if divided is not None:
        _refuse_divided(verify, asked[2])
    if verify:
        store = stores.open_store(out, verify=True) if out else stores.verified(data, *asked)
    else:
        source = open_source(data)
        with bar("packing") as progress:
            form = stores.form_of(source, *asked, workers, progress)
            how: dict[str, Any] = {"max_bad": max_bad, "workers": workers, "progress": progress}
            if divided and divided.shard:
                print_part(stores.pack_part(source, divided.folder, divided.shard, form, **how), as_json)
                return 0
            packer = partial(stores.pack_whole, divided.folder) if divided else stores.pack
            if out is None:
                store = stores.packed(source, **how, **vars(form), packer=packer)
            else:
                store = packer(source, out, **how, **vars(form))
        store.warn_of_extent()
    if as_json:
        print_json({**_store_facts(store), **({"sound": True} if verify else {})})
    else:
        images = f"{len(store)} images of {len(store.class_names)} classes, {store.form}"
        skipped = f", {len(store.skipped)} skipped" if store.skipped else ""
        sound = "; sound: every checksum is right" if verify else ""
        print(f"{images}{skipped}, in {store.folder}{sound}")
    return 0


def _refuse_divided(verify: bool, value_range: Any) -> None:
    """UsageError for what needs all images at once, or packs none."""
    if verify:
        raise UsageError("--verify packs nothing that could be divided; leave --shard, --merge and --parts out")
    if value_range == AUTO:
        raise UsageError(
            "--value-range auto looks at all images, and a shard at its own; give the range as LOW,HIGH: alexnet pack "
            "without --shard finds it, and says it"
        )


def _store_facts(store: "Store") -> dict[str, Any]:
    return {
        "folder": str(store.folder),
        "images": len(store),
        "classes": len(store.class_names),
        **asdict(store.form),
        "extent": store.extent and store.extent.to_json(),
        "skipped": [{"path": path, "reason": reason} for path, reason in store.skipped],
    }
