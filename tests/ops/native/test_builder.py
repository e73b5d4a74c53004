"""The kernels are built where there is a compiler, and said to be missing, with the reason, where there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from alexnet.ops import native
from alexnet.ops.native import builder

SOURCES = Path(builder.__file__).parent
EXERCISE = Path(__file__).parent / "exercise.cpp"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the kernels' sources without a library."""
    kept = shutil.ignore_patterns("*.so", "*.txt", "__pycache__")
    return Path(shutil.copytree(SOURCES, tmp_path / "native", ignore=kept))


def test_without_a_compiler_the_reason_is_kept(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(sources))
    assert builder.build(sources) is None
    assert "no C++ compiler was found" in (sources / builder.REASON).read_text()
    assert not (sources / builder.LIBRARY).exists()


def test_a_compiler_that_fails_leaves_its_first_error(sources: Path) -> None:
    (sources / "lrn.cpp").write_text("#error these kernels are broken\n")
    assert builder.build(sources) is None
    assert "these kernels are broken" in (sources / builder.REASON).read_text()


def test_a_compiler_that_cannot_be_started_is_named(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert builder.build(sources) is None
    assert "no-such-compiler" in (sources / builder.REASON).read_text()


@pytest.fixture
def elsewhere(sources: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package looks for its library in the copied folder."""
    monkeypatch.setattr(native, "FOLDER", sources)
    native.library.cache_clear()
    yield sources  # type: ignore[misc]
    monkeypatch.undo()
    native.library.cache_clear()


def test_a_missing_library_is_said_once_with_what_to_do(elsewhere: Path) -> None:
    (elsewhere / builder.REASON).write_text("no C++ compiler was found\n")
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler was found.*python -m alexnet\.ops\.native"):
        assert native.instruction_set() is None
    assert native.instruction_set() is None  # warnings are errors here: a second one would fail


def test_a_library_of_other_sources_is_not_used(elsewhere: Path) -> None:
    shutil.copy(SOURCES / builder.LIBRARY, elsewhere)
    (elsewhere / "lrn.h").write_text("// changed\n")
    with pytest.warns(UserWarning, match="other sources"):
        assert native.instruction_set() is None


def test_an_unknown_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "sse9")
    with pytest.raises(native.UsageError, match=r"sse9.*auto.*off.*portable"):
        native.instruction_set()


def test_no_kernel_reads_or_writes_beyond_its_maps_nor_does_what_is_undefined(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no compiler")
    watch = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-static-libasan"]
    if "clang" in compiler:
        watch.pop()
    program = tmp_path / "exercise"
    operators = [str(SOURCES / f"{name}.cpp") for name in ("lrn", "lrn_within", "lrn_pool", "pool_lrn")]
    command = [compiler, "-std=c++17", "-O1", "-g", *watch, "-DISA=portable", f"-I{SOURCES}"]
    subprocess.run([*command, *operators, str(EXERCISE), "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "458 runs\n"
