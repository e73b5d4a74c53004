"""The command line as `python -m alexnet`."""

import sys

from alexnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
