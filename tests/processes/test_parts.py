"""The folder of parts: whole or not at all, of one job, and what is missing is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.errors import AlexNetError, UsageError
from alexnet.processes.parts import Parts
from alexnet.processes.shards import Shard

JOB = {"command": "embed", "model": "a" * 64, "views": 1}


def fill(folder: Path) -> int:
    (folder / "found.txt").write_text(folder.name, encoding="utf-8")
    return 7


def never(folder: Path) -> int:
    raise AssertionError(f"{folder} is filled again")


def keep(folder: Path, *numbers: int, count: int = 3, **changes: object) -> None:
    for number in numbers:
        Parts(folder, {**JOB, **changes}).keep(Shard(number, count), fill)


def test_a_part_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path, JOB)
    first = parts.keep(Shard(2, 3), fill)
    again = parts.keep(Shard(2, 3), never)
    assert (first.made, again.made) == (True, False)
    assert {**first.to_json(), "made": False} == again.to_json()
    assert again.images == 7
    assert [path.name for path in tmp_path.iterdir()] == ["part-00002-of-00003"]


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails(folder: Path) -> int:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Parts(tmp_path, JOB).keep(Shard(1, 3), fails)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from alexnet.processes.parts import Parts
from alexnet.processes.shards import Shard

def fill(folder):
    (folder / "found.txt").write_text("half")
    print("filling", flush=True)
    time.sleep(60)

Parts(Path(sys.argv[1]), {"command": "embed"}).keep(Shard(1, 1), fill)
"""


def test_a_killed_shard_is_done_again(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "filling\n"
        process.kill()
    parts = Parts(tmp_path, {"command": "embed"})
    with pytest.raises(UsageError, match="holds no parts"):
        parts.all()
    assert parts.keep(Shard(1, 1), fill).made
    assert [path.name for path in tmp_path.iterdir()] == ["part-00001-of-00001"]
    assert parts.all()[0].images == 7


def test_a_second_process_waits_and_finds_the_part_done(tmp_path: Path) -> None:
    slow = KILLED.replace("time.sleep(60)", "time.sleep(.5)\n    return 7")
    with subprocess.Popen([sys.executable, "-c", slow, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "filling\n"
        kept = Parts(tmp_path, {"command": "embed"}).keep(Shard(1, 1), never)
    assert (kept.made, kept.images, process.returncode) == (False, 7, 0)


def test_all_parts_come_in_their_order(tmp_path: Path) -> None:
    keep(tmp_path, 3, 1, 2)
    assert [str(part.shard) for part in Parts(tmp_path, JOB).all()] == ["1/3", "2/3", "3/3"]


def test_missing_parts_are_named_with_what_to_run(tmp_path: Path) -> None:
    keep(tmp_path, 2)
    with pytest.raises(AlexNetError, match=r"lacks 2 of 3 parts: 1/3 \(missing\), 3/3 \(missing\); run alexnet embed"):
        Parts(tmp_path, JOB).all()
    with pytest.raises(UsageError, match=r"holds no parts; run alexnet embed with the same arguments and --shard 1/N"):
        Parts(tmp_path / "none", JOB).all()


@pytest.mark.parametrize(
    ("changed", "said"), [("torn", "found.txt has"), ("other", "checksum"), ("gone", "is missing")]
)
def test_a_damaged_part_is_refused_and_made_again(tmp_path: Path, changed: str, said: str) -> None:
    keep(tmp_path, 1, 2, 3)
    file = tmp_path / "part-00002-of-00003" / "found.txt"
    text = file.read_text(encoding="utf-8")
    file.write_text(text[1:] if changed == "torn" else text.swapcase(), encoding="utf-8")
    if changed == "gone":
        file.unlink()
    with pytest.raises(AlexNetError, match=f"lacks 1 of 3 parts: 2/3 .*{said}.*--shard 2/3 in place of --merge"):
        Parts(tmp_path, JOB).all()
    assert Parts(tmp_path, JOB).keep(Shard(2, 3), fill).made
    assert len(Parts(tmp_path, JOB).all()) == 3


def test_a_part_without_readable_facts_is_made_again(tmp_path: Path) -> None:
    keep(tmp_path, 1)
    (tmp_path / "part-00001-of-00003" / "part.json").write_text("{", encoding="utf-8")
    assert Parts(tmp_path, JOB).keep(Shard(1, 3), fill).made


def test_parts_of_another_model_or_setting_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    keep(tmp_path, 1)
    model = ({"model": "b" * 64}, "model aaaaaaaaaaaa, here it is bbbbbbbbbbbb")
    for changes, said in (model, ({"views": 10}, "views 1")):
        other = Parts(tmp_path, {**JOB, **changes})
        with pytest.raises(UsageError, match=said):
            other.keep(Shard(2, 3), never)
        with pytest.raises(UsageError, match=said):
            other.all()


def test_parts_computed_in_another_way_are_refused_but_a_merge_computes_in_none(tmp_path: Path) -> None:
    keep(tmp_path, 1, 2, count=2, computed="cpu, float32")
    with pytest.raises(UsageError, match="computed cpu, float32, here it is cuda, float32"):
        Parts(tmp_path, {**JOB, "computed": "cuda, float32"}).keep(Shard(2, 2), never)
    assert len(Parts(tmp_path, JOB).all()) == 2
    facts = tmp_path / "part-00002-of-00002" / "part.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace("cpu, float32", "cuda, float32"), encoding="utf-8")
    with pytest.raises(UsageError, match="computed cuda, float32, here it is cpu, float32"):
        Parts(tmp_path, JOB).all()


def test_another_number_of_parts_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, 1)
    with pytest.raises(UsageError, match="holds parts of 3, and 4 parts are wanted"):
        Parts(tmp_path, JOB).keep(Shard(2, 4), never)


def test_part_json_says_what_made_it(tmp_path: Path) -> None:
    keep(tmp_path, 1)
    facts = json.loads((tmp_path / "part-00001-of-00003" / "part.json").read_text(encoding="utf-8"))
    assert (facts["shard"], facts["job"], facts["images"]) == ([1, 3], JOB, 7)
    assert list(facts["files"]) == ["found.txt"]
