"""Nothing that only Linux or only Unix has is needed to train and to resume."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A Python without what Windows lacks, which then runs two commands: argv is the data and the run's folder.
WITHOUT_UNIX = """
import os, signal, sys

import platformdirs, sklearn, torch  # which know what system they are on, and use what that has

for module in ("fcntl", "resource", "grp", "termios"):
    sys.modules[module] = None  # importing it raises ImportError
for name in ("fchmod", "sysconf", "sched_getaffinity", "fork", "O_DIRECTORY"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGTERM", "SIGKILL", "SIGHUP", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)

from alexnet.cli import main

data, run = sys.argv[1:]
small = "--recipe torchvision --network modern --input-size 63 --resize 72 --epochs 1 --batch-size 8".split()
codes = [main(["train", data, "--out", run, *small]), main(["train", "--resume", run])]
codes.append(main(["predict", run, data, "--top", "1"]))
print("exit codes", codes)
"""


def test_train_resume_and_predict_need_nothing_of_unix(
    write_digits: Callable[[Path, int, int], Path], tmp_path: Path
) -> None:
    data = write_digits(tmp_path / "data", 2, 8)
    run = tmp_path / "work" / "run"
    command = [sys.executable, "-c", WITHOUT_UNIX, str(data), str(run)]
    environment = {"PYTHONPATH": str(ROOT / "src"), "ALEXNET_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("exit codes [0, 0, 0]\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert "top1" in json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert [path for path in tmp_path.rglob("*.lock") if path.is_file()] == []
