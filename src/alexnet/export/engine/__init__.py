"""The engine of a page: C for WebAssembly, compiled ahead (`python -m alexnet.export.engine`) and kept as bytes.

Three builds of one source: `relaxed` multiplies and adds in one rounding where the processor can (relaxed SIMD), `simd`
needs WebAssembly's vectors alone, `scalar` neither. Their answers agree up to rounding.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
BUILDS = {"relaxed": ("-msimd128", "-mrelaxed-simd"), "simd": ("-msimd128",), "scalar": ()}
"""Name -> the compiler's flags, the fastest first."""
FLAGS = (
    *("-target", "wasm32-freestanding", "-O3", "-std=c11", "-Wall", "-Wextra", "-Werror"),
    *("-fno-builtin", "-ffp-contract=off", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"),
)


def wasm(build: str) -> bytes:
    """The compiled engine: a WebAssembly module that imports nothing."""
    return path_of(build).read_bytes()


def path_of(build: str) -> Path:
    """Where a build lies."""
    return FOLDER / f"engine-{build}.wasm"
