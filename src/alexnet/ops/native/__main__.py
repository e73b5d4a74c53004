"""python -m alexnet.ops.native [COMPILER FLAG...]: compile the kernels again, in place.

Prints the library's path; without one, the reason on standard error, with exit code 1.
"""

import sys
from pathlib import Path

from alexnet.ops.native.builder import REASON, build

if __name__ == "__main__":
    folder = Path(__file__).parent
    library = build(folder, tuple(sys.argv[1:]))
    if library is None:
        reason = (folder / REASON).read_text(encoding="utf-8").strip()
        sys.exit(f"alexnet: no native operators: {reason}; install GCC or Clang, or set CXX, and run this again")
    print(library)
