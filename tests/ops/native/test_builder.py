"""The kernels are built where there is a compiler, and said to be missing, with the reason, where there is none."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.ops import native
from alexnet.ops.native import builder

SOURCES = Path(builder.__file__).parent
EXERCISE = Path(__file__).parent / "exercise.cpp"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the kernels' sources without a library."""
    kept = shutil.ignore_patterns(builder.LIBRARY, "*.txt", "__pycache__")
    return Path(shutil.copytree(SOURCES, tmp_path / "native", ignore=kept))


def test_without_a_compiler_the_reason_is_kept(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(sources))
    assert builder.build(sources) is None
    assert "no C++ compiler was found" in (sources / builder.REASON).read_text()
    assert not (sources / builder.LIBRARY).exists()


def test_the_command_that_builds_says_what_it_lacks_in_one_line(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(sources))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(sources / "__main__.py"), run_name="__main__")
    assert str(ended.value) == (
        "alexnet: no native operators: no C++ compiler was found (CXX is not set, and PATH has none of c++, g++,"
        " clang++); install GCC or Clang, or set CXX, and run this again"
    )


def test_a_compiler_that_fails_leaves_its_first_error(sources: Path) -> None:
    (sources / "lrn.cpp").write_text("#error these kernels are broken\n")
    assert builder.build(sources) is None
    assert "these kernels are broken" in (sources / builder.REASON).read_text()


def test_a_compiler_that_cannot_be_started_is_named(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert builder.build(sources) is None
    assert "no-such-compiler" in (sources / builder.REASON).read_text()


def test_windows_builds_only_with_a_compiler_named_by_cxx(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert builder.build(sources) is None
    assert "on Windows kernels are built only with a compiler named by CXX" in (sources / builder.REASON).read_text()


@pytest.mark.parametrize(
    ("names", "glibc"),
    [
        ("libc.so.6 libm.so.6 libgomp.so.1 GLIBC_2.2.5 GLIBC_2.14 GOMP_4.5", (2, 17)),
        ("libc.so.6 GLIBC_2.34 GLIBC_2.14", (2, 34)),
        ("libc.so.6 libstdc++.so.6 GLIBC_2.14 GLIBCXX_3.4.19 CXXABI_1.3", (2, 17)),
        ("libc.so.6 libstdc++.so.6 GLIBC_2.14 GLIBCXX_3.4.32", None),
        ("libc.so.6 libomp.so.5 GLIBC_2.14", None),
        ("libc.so.6 GLIBC_2.14 GLIBC_ABI_DT_RELR", None),
        ("libc.musl-x86_64.so.1", None),
    ],
)
def test_a_wheel_is_manylinux_if_every_library_and_symbol_version_allows(
    names: str, glibc: tuple[int, int] | None
) -> None:
    elf = "".join(f"\0{name}" for name in names.split()) + "\0"
    assert builder.needed_glibc(elf.encode()) == glibc


@pytest.mark.parametrize(
    ("pythons", "machine", "target"),
    [("10.13", "x86_64", "10.13"), ("10.9", "arm64", "11.0"), ("14.4", "arm64", "14.0"), ("15", "x86_64", "15.0")],
)
def test_a_macos_wheel_names_a_version_that_pip_knows(pythons: str, machine: str, target: str) -> None:
    assert builder.macos_target(pythons, machine) == target


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF names")
def test_the_library_links_to_neither_python_nor_pytorch() -> None:
    elf = (SOURCES / builder.LIBRARY).read_bytes()
    assert b"\0libc.so.6\0" in elf
    assert not any(name in elf for name in (b"libpython", b"libtorch", b"libc10"))


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


@pytest.mark.slow
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
    assert done.stdout == "530 runs\n"
