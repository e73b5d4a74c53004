"""The engine that is committed is what its source gives."""

from pathlib import Path

import pytest

from alexnet.export.engine import BUILDS, wasm
from alexnet.export.engine.__main__ import build


@pytest.mark.slow
def test_a_build_of_the_source_has_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="the engine is compiled by ziglang, which is not installed")
    made = {path.name: path.read_bytes() for path in build(tmp_path)}
    assert made == {f"engine-{name}.wasm": wasm(name) for name in BUILDS}


@pytest.mark.parametrize("name", BUILDS)
def test_the_engine_imports_nothing(name: str) -> None:
    """Sections of a module follow the 8 bytes of its head: id, size, content; 2 would be the imports."""
    content, at, found = wasm(name), 8, []
    while at < len(content):
        found.append(content[at])
        at, size, shift = at + 1, 0, 0
        while True:
            size |= (content[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if content[at - 1] < 128:
                break
        at += size
    assert 2 not in found
    assert 10 in found, "the code"
