"""python -m alexnet.export.engine [FOLDER]: compile the engine anew, in place or into a folder.

Needs ziglang, a package with a compiler for WebAssembly (dependency group `test`); one version gives the same bytes on
every machine.
"""

import subprocess
import sys
from pathlib import Path

from alexnet.export.engine import BUILDS, FLAGS, FOLDER, path_of


def build(folder: Path) -> list[Path]:
    """Compile every build into `folder`; their paths."""
    made = []
    for name, flags in BUILDS.items():
        made.append(folder / path_of(name).name)
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *flags, "engine.c", "-o", str(made[-1].resolve())]
        subprocess.run(command, cwd=FOLDER, check=True)
        made[-1].chmod(0o644)
    return made


if __name__ == "__main__":
    for path in build(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(path, path.stat().st_size, "bytes")
