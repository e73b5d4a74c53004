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
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARY = {"win32": "kernels.dll", "darwin": "kernels.dylib"}.get(sys.platform, "kernels.so")
REASON = "not-built.txt"  # why there is no library, in one line
COMPILERS = ("c++", "g++", "clang++")
COMMON = ("-std=c++17", "-O3", "-fvisibility=hidden", "-fno-math-errno", "-Wall", "-Wextra")
# GCC's own headers of intrinsics set this one off.
QUIET = ("-Wno-maybe-uninitialized", "-Wno-unknown-warning-option", "-Wno-unused-function")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
# The oldest manylinux platform, manylinux_2_17: the libraries that it has, and the newest symbol versions of each (see
# auditwheel's policy of that name). libgomp is not among them: PyTorch, which is imported first, brings its own.
MANYLINUX = {"libc", "libm", "libpthread", "libdl", "librt", "libstdc++", "libgcc_s", "libgomp", "ld-linux-x86-64"}
NEWEST = {"GLIBCXX": (3, 4, 19), "CXXABI": (1, 3, 7), "GCC": (4, 8, 0)}
OLDEST_GLIBC = (2, 17)
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


def platform_tag(library: Path) -> str:
    """The platform tag of a wheel with this library, such as "manylinux_2_17_x86_64" or "macosx_11_0_arm64".

    On Linux it names the oldest glibc that has every symbol the library needs (PEP 600); where that cannot be told
    from its symbol versions and libraries, it is "linux_<machine>", which package indexes do not accept.
    """
    tag = re.sub(r"[-.]", "_", sysconfig.get_platform())
    if sys.platform == "linux" and (glibc := needed_glibc(library.read_bytes())):
        return tag.replace("linux", f"manylinux_{glibc[0]}_{glibc[1]}", 1)
    if sys.platform == "darwin":  # get_platform() may say universal2; the compiler makes code for one architecture
        return f"macosx_{_macos_target().replace('.', '_')}_{platform.machine()}"
    return tag


def macos_target(pythons: str, machine: str) -> str:
    """The oldest macOS to compile for, given that of Python. From 11, arm64's first, tags lack the minor version."""
    major, minor = (int(part) for part in f"{pythons}.0".split(".")[:2])
    return f"{major}.0" if major >= 11 else "11.0" if machine == "arm64" else f"{major}.{minor}"


def _macos_target() -> str:
    return macos_target(str(sysconfig.get_config_var("MACOSX_DEPLOYMENT_TARGET") or "11.0"), platform.machine())


def needed_glibc(elf: bytes) -> tuple[int, ...] | None:
    """The glibc version that an ELF library needs, at least manylinux's oldest; None if it fits no manylinux platform.

    Reads the names in the library's string table, so that no tool is needed: libraries (libm.so.6) and symbol versions
    (GLIBC_2.14).
    """
    libraries = set(re.findall(rb"(?<=\0)((?:lib|ld-)[\w+-]+)\.so[.\d]*(?=\0)", elf))
    versions = re.findall(rb"(?<=\0)(GLIBC|GLIBCXX|CXXABI|GCC)_([\w.]+)(?=\0)", elf)
    if not versions or {each.decode() for each in libraries} - MANYLINUX:
        return None
    newest: tuple[int, ...] = OLDEST_GLIBC
    for name, text in versions:
        if not re.fullmatch(rb"[\d.]+", text):  # GLIBC_ABI_DT_RELR, GLIBC_PRIVATE
            return None
        version = tuple(map(int, text.split(b".")))
        if name == b"GLIBC":
            newest = max(newest, version[:2])
        elif version > NEWEST[name.decode()]:
            return None
    return newest


def _compiler() -> list[str]:
    """The compiler's command. On Windows only CXX counts: PyTorch shares no OpenMP library with GCC or Clang there."""
    windows = sys.platform == "win32"
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"], posix=not windows)
    if windows:
        raise BuildError("on Windows kernels are built only with a compiler named by CXX")
    if found := next(filter(None, map(shutil.which, COMPILERS)), None):
        return [found]
    raise BuildError(f"no C++ compiler was found (CXX is not set, and PATH has none of {', '.join(COMPILERS)})")


def _compile_all(folder: Path, compiler: list[str], flags: tuple[str, ...]) -> Path:
    """Objects for every operator and instruction set, side by side, and the library of them."""
    openmp = ("-fopenmp",) if _accepts(compiler, "-fopenmp") else ()
    general = (*COMMON, *QUIET, *_system_flags(), *openmp, *flags, f'-DSOURCES="{source_hash(folder)}"')
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


def _system_flags() -> tuple[str, ...]:
    position = () if sys.platform == "win32" else ("-fPIC",)
    return (*position, f"-mmacosx-version-min={_macos_target()}") if sys.platform == "darwin" else position


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
        raise BuildError(f"the C++ compiler {command[0]} failed: {first.strip()}")
