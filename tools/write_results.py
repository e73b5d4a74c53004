"""`make bench`: run all benchmarks once or several times and write the results into docs/results.md.

    python tools/write_results.py --runs 3            # runs `alexnet benchmark all` three times
    python tools/write_results.py one.json two.json   # reads answers of `alexnet benchmark all --json`

The table holds the median of several runs with the range over all of them. A run takes half an hour and 17 GB of
memory; close other programs first.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from alexnet.bench.table import Row, markdown, merged
from alexnet.files import whole_file

RESULTS = Path(__file__).parent.parent / "docs" / "results.md"
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
COMMAND = ["benchmark", "all", "--json"]


def main() -> None:
    """Measure, or read answers, and write the section."""
    parser = argparse.ArgumentParser(description="Write benchmarks into docs/results.md.")
    parser.add_argument("answers", nargs="*", type=Path, help="answers of `alexnet benchmark all --json`")
    parser.add_argument("--runs", type=int, default=1, help="how often to measure, where no answers are given")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file with the two marker comments")
    given = parser.parse_args()
    runs = [read(path) for path in given.answers] or [json.loads(measure()) for _ in range(given.runs)]
    text = insert(given.out.read_text(encoding="utf-8"), section(runs))
    with whole_file(given.out) as file:
        file.write(text)


def read(path: Path) -> dict[str, Any]:
    """The answer in a file; exits if the benchmark was stopped, because its medians would mix unequal runs."""
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not answer.get("complete", True):  # older answers, all complete, lack the key
        sys.exit(f"{path} is the answer of a benchmark that was stopped; give one of a complete run")
    return answer


def measure() -> str:
    """Standard output of `alexnet benchmark all --json`; exits with its code if it fails."""
    command = [sys.executable, "-m", "alexnet.cli", *COMMAND]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def section(runs: list[dict[str, Any]]) -> str:
    """Markdown: date, commit, hardware, versions, and the table of all runs."""
    found = runs[0]["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    rows = merged([[Row.from_json(each) for each in run["ceilings"] + run["rows"]] for run in runs])
    marks = [each.holds for each in rows if each.mark]
    return "\n".join(
        [
            f"`alexnet benchmark all`, {len(runs)} run{'s' if len(runs) > 1 else ''}, written"
            f" {datetime.date.today().isoformat()}, commit {(found['commit'] or 'unknown')[:8]}.",
            f"{found['processor']}, {found['cores']} cores, {found['threads']} threads, "
            f"{found['memory_bytes'] / 1e9:.0f} GB; native operators: {found['native'] or 'none'}; {found['system']}; "
            f"Python {found['python']}, {versions}.",
            f"Batch {found['batch_size']} unless said. {marks.count(True)} of {len(marks)} marks are reached.",
            "",
            markdown(rows),
        ]
    )


def insert(text: str, between: str) -> str:
    """`text` with everything between the two markers replaced by `between`."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"the file has no lines {BEGIN} and {END}; add them where the table belongs")
    return f"{before}{BEGIN}\n{between}\n{END}{after}"


if __name__ == "__main__":
    main()
