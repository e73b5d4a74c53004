"""README's commands work as they stand there.

Of every fenced ```console or ```bash block, the lines that start with `alexnet ` (after a `$ ` prompt) are run in
order, in one empty folder that holds photo.jpg and photos/<class>/*.jpg. Training is run at small size. A line that
ends in the comment `# minutes` or `# days` is not run.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from alexnet.networks import list_networks
from alexnet.networks.summary import summarize

ROOT = Path(__file__).parent.parent
LONG = ("# minutes", "# days")
SMALL = ["--epochs", "1", "--input-size", "64"]  # a later option wins over an earlier one


def commands(readme: str) -> list[str]:
    """The lines that are to be run."""
    blocks = re.findall(r"^```(?:console|bash)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("alexnet ") and not line.endswith(LONG)]


def words(line: str) -> list[str]:
    """The command's words, training made small."""
    found = shlex.split(line, comments=True)[1:]
    return [*found, *SMALL] if found[0] == "train" and "--resume" not in found else found


def test_the_lines_to_run_are_found() -> None:
    readme = "```console\n$ alexnet train digits --epochs 9  # seconds\nprinted\nalexnet train big  # minutes\n```\n"
    assert commands(readme) == ["alexnet train digits --epochs 9  # seconds"]
    assert words(commands(readme)[0]) == ["train", "digits", "--epochs", "9", *SMALL]


def python(readme: str) -> str:
    """The lines between ```python and ```."""
    return "\n".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))


def test_every_command_in_the_readme_runs_and_so_does_its_python(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    lines = commands(readme.read_text(encoding="utf-8"))
    assert lines
    take_photos(tmp_path)
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for line in lines:
        command = [sys.executable, "-m", "alexnet.cli", *words(line)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    program = f"import torch\nimages = torch.rand(1, 3, 224, 224)\n{python(readme.read_text(encoding='utf-8'))}"
    assert "alexnet.load" in program
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / name).is_file() for name in ("filters.png", "maps.png"))


def test_the_table_of_networks_says_what_the_summary_counts() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in list_networks():
        found = summarize(name)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {found.params:,} | {found.macs:,} |" in row, name


def take_photos(folder: Path) -> None:
    """photo.jpg, and twelve crops each of two real photographs in photos/<class>/."""
    for name, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        photo = Image.fromarray(pixels)
        photo.save(folder / "photo.jpg")
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            photo.crop((20 * number, 0, 20 * number + 400, 400)).save(folder / "photos" / name / f"{number}.jpg")
