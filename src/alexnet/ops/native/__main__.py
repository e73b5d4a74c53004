"""python -m alexnet.ops.native [COMPILER FLAG...]: build the kernels anew, in place."""

import sys
from pathlib import Path

from alexnet.ops.native.builder import REASON, build

if __name__ == "__main__":
    folder = Path(__file__).parent
    library = build(folder, tuple(sys.argv[1:]))
    print(library or (folder / REASON).read_text(encoding="utf-8").strip())
    sys.exit(0 if library else 1)
