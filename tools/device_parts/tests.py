"""The tests that are marked `cuda`, in a process of their own."""

import importlib.util
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

from device_parts.record import Record

ROOT = Path(__file__).parents[2]
MARK = "pytest.mark.cuda"
END = ("failure", "error")


def run(record: Record) -> None:
    """Only files that hold such tests are collected: others need packages that may be missing."""
    if importlib.util.find_spec("pytest") is None:
        record.pass_over("pytest is not installed")
        return
    if not marked():
        record.pass_over("no test is marked")
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", f"--junitxml={report}", *marked()]
        done = subprocess.run(command, cwd=ROOT, check=False)  # its words go to the part's log
        if not report.is_file():
            raise RuntimeError(f"pytest ended with {done.returncode} and no report; see the log")
        cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    failed = [case.get("name", "") for case in cases if any(case.find(kind) is not None for kind in END)]
    skipped = sum(case.find("skipped") is not None for case in cases)
    record.add("passed", "tests", len(cases) - len(failed) - skipped)
    record.add("failed", "tests", len(failed), at_most=0, note=", ".join(failed))
    record.add("skipped", "tests", skipped, note="no GPU" if record.small else "")


def marked() -> list[str]:
    """The files of tests that hold the mark."""
    return sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))
