"""README's commands work as they stand there.

Of every fenced ```console or ```bash block, the lines that start with `alexnet ` (after a `$ ` prompt) are parsed, and
run in order, in one folder that holds photo.jpg and photos/<class>/*.jpg. Training is run at small size. A line that
ends in the comment `# minutes`, `# days` or `# until Ctrl-C` is parsed but not run.
"""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from sklearn.datasets import load_sample_images

from alexnet import cli
from alexnet.networks import list_networks
from alexnet.networks.summary import summarize

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LONG = ("# minutes", "# days", "# until Ctrl-C")
SMALL = ["--epochs", "1", "--input-size", "64"]  # a later option wins over an earlier one


def commands(readme: str) -> list[str]:
    """The lines that are commands."""
    blocks = re.findall(r"^```(?:console|bash)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("alexnet ")]


def words(line: str) -> list[str]:
    """The command's words without `alexnet`."""
    return shlex.split(line, comments=True)[1:]


def shortened(line: str) -> list[str]:
    """The command's words, training by steps made small."""
    found = words(line)
    return [*found, *SMALL] if found[0] == "train" and not {"--resume", "--probe"} & set(found) else found


def python(readme: str) -> str:
    """The lines between ```python and ```."""
    return "\n".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))


def test_commands_are_found_and_shortened() -> None:
    readme = "```console\n$ alexnet train digits --epochs 9  # seconds\nprinted\nalexnet train big  # minutes\n```\n"
    assert commands(readme) == ["alexnet train digits --epochs 9  # seconds", "alexnet train big  # minutes"]
    assert shortened(commands(readme)[0]) == ["train", "digits", "--epochs", "9", *SMALL]


@pytest.mark.parametrize("line", commands(README))
def test_a_command_in_the_readme_is_understood(line: str) -> None:
    group = typer.main.get_command(cli.app)
    with group.make_context("alexnet", words(line)) as context:  # type: ignore[attr-defined]
        name, command, rest = group.resolve_command(context, words(line))  # type: ignore[attr-defined]
        command.make_context(name, rest, parent=context)  # parses, and runs nothing


def test_a_command_with_an_unknown_option_is_not_understood() -> None:
    with pytest.raises(typer.TyperException, match="No such option"):
        test_a_command_in_the_readme_is_understood("alexnet train digits --epoch 3")


def test_the_commands_in_the_readme_run_and_so_does_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    take_photos(tmp_path)
    for line in commands(README):
        if not line.endswith(LONG):
            assert cli.main(shortened(line)) == 0, f"{line}\n{capsys.readouterr().err}"
    program = python(README)
    assert "alexnet.load" in program
    exec(compile(program, "README.md", "exec"), {"images": torch.rand(1, 3, 224, 224)})
    assert all((tmp_path / name).is_file() for name in ("filters.png", "maps.png"))


def test_the_table_of_networks_says_what_the_summary_counts() -> None:
    for name in list_networks():
        found = summarize(name)
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {found.params:,} | {found.macs:,} |" in row, name


def take_photos(folder: Path) -> None:
    """photo.jpg, and twelve small crops each of two real photographs in photos/<class>/."""
    for name, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        photo = Image.fromarray(pixels)
        photo.save(folder / "photo.jpg")
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            photo.crop((20 * number, 0, 20 * number + 400, 400)).resize((128, 128)).save(
                folder / "photos" / name / f"{number}.jpg"
            )
