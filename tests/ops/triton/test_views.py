"""A GPU's views equal the processor's: interpreted, and compiled for a GPU that is not here."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resized", "beyond", "bfloat16"])
def test_views_equal_the_processors(name: str, interpreted: dict[str, dict[str, Any]]) -> None:
    found = interpreted[f"views {name}"]
    assert found["error"] <= (2**-7 if name == "bfloat16" else 1e-5)
    assert found["channels last"]


@pytest.mark.slow
def test_a_crop_of_the_views_size_is_copied(interpreted: dict[str, dict[str, Any]]) -> None:
    assert interpreted["views copied"]["equal"]


@pytest.mark.slow
def test_noise_is_that_of_the_key(interpreted: dict[str, dict[str, Any]]) -> None:
    assert interpreted["noise"]["error"] <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("where", ["kept", "sent"])
def test_batches_of_images_on_a_gpu_are_the_processors(where: str, interpreted: dict[str, dict[str, Any]]) -> None:
    found = interpreted[f"loaded {where}"]
    assert found["error"] <= 1e-5
    assert found["others"]
    assert found["batches"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gray_kernel", "render_kernel", "render_kernel, noise", "mix_kernel"])
def test_compiled_for_an_h100_nothing_is_spilled(kind: str, compiled: Callable[..., Any]) -> None:
    from alexnet.ops.triton import views
    from alexnet.ops.triton.launch import OPTIONS, WARPS

    shared = {"images": "*u8", "rows": "*i64", "views": "*fp32", "sums": "*fp32"}
    sizes = {"side": "i32", "size": "i32"}
    given: dict[str, dict[str, str]] = {
        "gray_kernel": {**shared, **sizes, **dict.fromkeys(("red", "green", "blue"), "fp32")},
        "render_kernel": {
            **shared,
            **{"keys": "*i64", "out": "*bf16", **sizes, "quarter": "i32"},
            **{f"deviation{channel}": "fp32" for channel in range(3)},
        },
        "mix_kernel": {
            "batch": "*bf16",
            "share": "*fp32",
            "box": "*i32",
            "count": "i32",
            "width": "i32",
            "values": "i32",
        },
    }
    name = kind.partition(",")[0]
    constants: dict[str, Any] = {"BLOCK": views.MIXED if name == "mix_kernel" else views.BLOCK}
    if name == "render_kernel":
        constants |= {"GRAY": True, "NOISE": "noise" in kind, "TILES": 64}
    found = compiled(getattr(views, name), given[name], constants, {"num_warps": WARPS, **OPTIONS})
    assert found.spilled <= (32 if "noise" in kind else 0)  # 32: where sine and cosine would reduce large angles
    assert found.registers <= 128
