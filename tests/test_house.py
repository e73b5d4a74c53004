"""The house keeps its promises: layout, locks, licence, and what is committed."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from alexnet.weights.pretrained import OWN_FILE

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {
    "run": PROJECT["project"]["dependencies"],
    "test": PROJECT["dependency-groups"]["test"],
    "lint": PROJECT["dependency-groups"]["lint"],
    "install": ["uv", *PROJECT["build-system"]["requires"]],
}


def name_of(requirement: str) -> str:
    """'PyYAML>=6.0' -> 'pyyaml', as locks spell it (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def pins(lock: str) -> dict[str, set[str]]:
    """For each package of a lock its pinned versions with their conditions ("2.0 ; python_full_version < '3.12'")."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            name, _, pin = line.rstrip(" \\").partition("==")
            found.setdefault(name, set()).add(pin)
    return found


def committed_files() -> list[Path]:
    """Every file that git knows here; the test is skipped outside a checkout."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so that nothing says which files are committed")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def layout() -> dict[str, str]:
    """Path -> caption, from the tree in docs/map.md: the fenced block drawn with ├── and └──."""
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    trees = [block for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "├── " in block]
    assert len(trees) == 1, "docs/map.md has one tree of folders"
    return captions(trees[0])


def captions(tree: str) -> dict[str, str]:
    """The paths of a drawn tree, folders without their slash; a line above the branches is the folder they are in."""
    found: dict[str, str] = {}
    parents: list[str] = []
    base = ""
    for line in filter(str.strip, tree.splitlines()):
        drawn = re.match(r"(?P<indent>(?:│   |    )*)(?:├── |└── )(?P<name>\S+)\s*(?P<caption>.*)", line)
        if not drawn:
            base = "" if line.split()[0] in (".", "./") else line.split()[0].rstrip("/")
            continue
        parents[len(drawn["indent"]) // 4 :] = [drawn["name"].rstrip("/")]
        found["/".join(filter(None, [base, *parents]))] = drawn["caption"]
    return found


def test_every_path_in_the_layout_exists_and_has_a_caption() -> None:
    shown = layout()
    assert [path for path in shown if not (ROOT / path).exists()] == []
    assert [path for path, caption in shown.items() if not caption] == []


def test_every_module_is_in_the_layout() -> None:
    shown = layout()
    modules = [path for path in committed_files() if path.is_relative_to(ROOT / "src") and path.suffix == ".py"]
    names = [str(path.relative_to(ROOT)) for path in modules if path.stem != "__init__"]
    assert [name for name in names if name not in shown] == []


def test_contributing_lists_the_rooms_in_the_order_of_the_contract() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (rooms,) = re.findall(r"From the top: (.*?) \(a slash", text)
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [sorted(re.findall(r"alexnet\.(\w+)", layer)) for layer in reversed(layers)]
    assert [sorted(re.findall(r"`(\w+)`", group)) for group in rooms.split(", ")] == contract


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400} == {}


def test_captions_reads_a_drawn_tree() -> None:
    tree = "src/alexnet/\n├── ops/      tensors\n│   └── lrn.py  a formula\n└── cli.py    parse\nMakefile   no branch\n"
    assert captions(tree) == {
        "src/alexnet/ops": "tensors",
        "src/alexnet/ops/lrn.py": "a formula",
        "src/alexnet/cli.py": "parse",
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_what_pyproject_names(lock: str) -> None:
    assert [name for name in map(name_of, LOCKS[lock]) if name not in pins(lock)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_a_version_and_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    package = r"[a-z0-9-]+==[^\s;]+(?: ; [^\\\n]+)? \\\n"
    hashes = r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    assert re.fullmatch(f"(?:{package}{hashes})+", text)


@pytest.mark.parametrize("lock", ["install", "test", "lint"])
def test_the_locks_agree_because_all_of_them_meet_in_one_environment(lock: str) -> None:
    run, other = pins("run"), pins(lock)
    differing = {name for name in run.keys() & other.keys() if versions(run[name]) != versions(other[name])}
    assert differing == set()


def versions(pinned: set[str]) -> set[str]:
    return {pin.partition(" ;")[0] for pin in pinned}


def test_the_lock_for_running_has_nothing_of_tests_and_linters() -> None:
    assert {"pytest", "keras", "tensorboard", "ruff", "mypy"} & pins("run").keys() == set()


def test_no_committed_file_names_a_registry_or_someones_folder() -> None:
    patterns = [
        r"https?://[^\s)>\"']*(?:/simple\b|files\.pythonhosted|/packages/|registry\.)",
        r"--(?:extra-)?index-url[ =]\S",
        r"--find-links[ =]\S",
        r"(?<![\w.$~-])/(?:home|Users|root|work|workspace|tmp|opt)/[\w.-]",
    ]
    forbidden = re.compile("|".join(patterns))
    found = []
    for path in committed_files():
        if path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in forbidden.finditer(text)]
    assert found == []


def test_no_committed_file_is_large_or_data() -> None:
    suffixes = {".safetensors", ".pt", ".pth", ".npy", ".npz", ".bin", ".tgz", ".zip", ".lock"}
    found = [path for path in committed_files() if path.suffix in suffixes or path.stat().st_size > 500_000]
    assert [path.name for path in found] == [OWN_FILE.name]  # our own weights, whose size another test limits


def test_the_licence_is_bsd_2_clause() -> None:
    text = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert PROJECT["project"]["license"] == "BSD-2-Clause"
    assert text.startswith("BSD 2-Clause License Copyright (c) 2026, the alexnet authors Redistribution and use")
    assert "Neither the name" not in text  # the third clause


def test_hooks_are_local() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^\s*- repo: (.*)$", text, re.MULTILINE) == ["local"]


def test_ci_runs_what_the_makefile_calls_check() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make check"
