"""Compile the kernels of this folder into one shared library beside them.

Every operator (*.cpp) is compiled once for each instruction set, and the program takes the best one that the machine
has when it runs, so that one library serves every machine of its architecture. The library is a plain C one: it links
neither with Python nor with PyTorch, so that no version of either can break it. It shares PyTorch's OpenMP threads.

`python -m alexnet.ops.native` builds anew in place. This file imports nothing but Python's own modules, because the
installer runs it before anything else is there.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARY = "kernels.so"
REASON = "not-built.txt"  # why there is no library, in one line
COMPILERS = ("c++", "g++", "clang++")
COMMON = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wall", "-Wextra")
# GCC's own headers of intrinsics set this one off.
QUIET = ("-Wno-maybe-uninitialized", "-Wno-unknown-warning-option", "-Wno-unused-function")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
X86 = {"avx512bf16": (*AVX512, "-mavx512bf16"), "avx512": AVX512, "avx2": ("-mavx2", "-mfma")}


def build(folder: Path, flags: tuple[str, ...] = ()) -> Path | None:
    """The library, new; None where it cannot be built, and the reason in `folder`/not-built.txt.

    flags: more for the compiler, after those of every build.
    """
    (folder / REASON).unlink(missing_ok=True)
    (folder / LIBRARY).unlink(missing_ok=True)
    try:
        return _compile_all(folder, _compiler(), flags)
    except BuildError as error:
        (folder / REASON).write_text(f"{error}\n", encoding="utf-8")
        return None


class BuildError(Exception):
    """There is no compiler, or it refused."""


def instruction_sets() -> dict[str, tuple[str, ...]]:
    """Name -> compiler flags, the best first; "portable" is what every processor of this architecture has."""
    sets = X86 if platform.machine().lower() in ("x86_64", "amd64") else {}
    return {**sets, "portable": ()}


def source_hash(folder: Path) -> str:
    """A hash of all sources: a library that was built from others is not loaded."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".cpp", ".h"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def platform_tag() -> str:
    """The wheel's platform."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _compiler() -> list[str]:
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    if found := next(filter(None, map(shutil.which, COMPILERS)), None):
        return [found]
    raise BuildError(f"no C++ compiler was found when alexnet was installed (CXX, {', '.join(COMPILERS)})")


def _compile_all(folder: Path, compiler: list[str], flags: tuple[str, ...]) -> Path:
    """Objects for every operator and instruction set, side by side, and the library of them."""
    openmp = ("-fopenmp",) if _accepts(compiler, "-fopenmp") else ()
    general = (*COMMON, *QUIET, *openmp, *flags, f'-DSOURCES="{source_hash(folder)}"')
    with tempfile.TemporaryDirectory() as beside, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {}
        for source in sorted(folder.glob("*.cpp")):
            for isa, chosen in instruction_sets().items() if source.stem != "processor" else [("any", ())]:
                target = Path(beside) / f"{source.stem}-{isa}.o"
                jobs[target] = [*compiler, *general, *chosen, f"-DISA={isa}", "-c", str(source), "-o", str(target)]
        list(pool.map(_run, jobs.values()))
        built = Path(beside) / LIBRARY
        _run([*compiler, "-shared", *openmp, *flags, *map(str, jobs), "-o", str(built)])
        shutil.copy(built, folder / f"{LIBRARY}.new")
    return (folder / f"{LIBRARY}.new").replace(folder / LIBRARY)


def _accepts(compiler: list[str], flag: str) -> bool:
    """Whether a program can be compiled and linked with this flag (Apple's Clang has no OpenMP)."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.cpp"
        source.write_text("int main() { return 0; }\n", encoding="utf-8")
        try:
            _run([*compiler, flag, str(source), "-o", str(Path(folder) / "empty")])
        except BuildError:
            return False
    return True


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"the C++ compiler {command[0]} could not be started: {error.strerror}") from error
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "it gave no reason")
        raise BuildError(f"the C++ compiler {command[0]} failed when alexnet was installed: {first.strip()}")
