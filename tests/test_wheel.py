"""The packages that `make wheel` builds: an sdist, and a wheel that works where there is neither checkout nor compiler.

To keep the test short, the fresh environment finds the dependencies (PyTorch etc.) of the running one through a .pth
file instead of installing them again. Such a file adds no other .pth file, so that an editable install stays out.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexnet.ops import native
from alexnet.ops.native import builder

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")
NAME = "alexnet/ops/native/" + builder.LIBRARY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not UV.exists(), reason="uv is not in this environment")]

SMALL = ["--recipe", "bvlc", "--input-size", "63", "--resize", "72", "--epochs", "1", "--batch-size", "8"]

PROGRAM = """
import json, sys
import alexnet
from alexnet import cli
from alexnet.ops import native
code = cli.main(sys.argv[1:])
calls = native.library.cache_info().hits  # every call of a kernel looks the library up
found = {"code": code, "kernel_calls": calls, "library": native.library()._name, "package": alexnet.__file__}
print(json.dumps(found), file=sys.stderr)
"""


def build(out: Path, **environment: str) -> Path:
    """Build the sdist and, from it, the wheel, as `make wheel` does; the wheel."""
    command = [UV, "build", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", out]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = build(tmp_path_factory.mktemp("dist"))
    if native.instruction_set() is None:
        pytest.skip("no kernels are built here")
    return found


def test_a_wheel_holds_the_kernels_for_this_platform_and_every_python_3(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        files.extract(NAME, wheel.parent)
        assert builder.REASON not in "".join(files.namelist())
    tag = builder.platform_tag(wheel.parent / NAME)
    assert wheel.name.endswith(f"-py3-none-{tag}.whl")
    assert "linux" not in tag or tag.startswith("manylinux_")


def test_a_wheel_holds_every_module_of_the_package(wheel: Path) -> None:
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    with zipfile.ZipFile(wheel) as files:
        assert modules - set(files.namelist()) == set()


def test_an_sdist_holds_sources_and_tests_but_no_library(wheel: Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    sources = {"src/alexnet/cli/__init__.py", "tests/test_wheel.py", "tools/growth.py"}
    assert {"pyproject.toml", "hatch_build.py", *sources} <= names
    assert not [name for name in names if name.endswith((builder.LIBRARY, builder.REASON))]


def test_without_a_compiler_the_wheel_is_pure_python(tmp_path: Path) -> None:
    found = build(tmp_path, PATH=str(tmp_path), CXX="")
    assert found.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(found) as files:
        assert NAME not in files.namelist()


def test_an_installed_wheel_trains_and_predicts_with_the_kernels(
    wheel: Path, tmp_path: Path, write_digits: Callable[[Path, int, int], Path]
) -> None:
    python = install(wheel, tmp_path / "venv")
    images = write_digits(tmp_path / "images", 3, 12)
    trained = run(python, tmp_path, "train", images, *SMALL, "--json")
    predicted = run(python, tmp_path, "predict", json.loads(trained.answer)["run"], images, "--json")
    assert len(json.loads(predicted.answer)) == 36
    for done in (trained, predicted):
        assert done.code == 0
        assert done.kernel_calls > 0
        assert Path(done.library).is_relative_to(tmp_path / "venv")
        assert Path(done.package).is_relative_to(tmp_path / "venv")


@dataclass(frozen=True)
class Done:
    """A command of the installed wheel, run in a process of its own."""

    answer: str  # standard output
    code: int
    kernel_calls: int
    library: str  # the files that were loaded
    package: str


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with this wheel alone, which finds other packages in the running one; its Python."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [UV, "pip", "install", "--python", python, "--offline", "--no-index", "--no-deps", wheel]
    subprocess.run(command, check=True, capture_output=True)
    (installed,) = folder.rglob("site-packages")
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def run(python: Path, folder: Path, *words: str | Path) -> Done:
    """Run the command where there is neither a compiler on PATH nor a checkout."""
    hidden = {"PYTHONPATH", "ALEXNET_NATIVE", "CXX"}
    environment = {**{name: value for name, value in os.environ.items() if name not in hidden}, "PATH": str(folder)}
    command = [python, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "no native operators" not in done.stderr
    return Done(done.stdout, **json.loads(done.stderr.splitlines()[-1]))
