"""One part in this process: python -m device_parts NAME RESULT.json"""

import sys
from importlib import import_module
from pathlib import Path

from device_parts.record import Record, machine


def main(name: str, result: Path) -> int:
    """Run it; what it needs and does not find is its result."""
    record = Record(name, result)
    try:
        record.begin(machine())
        import_module(f"device_parts.{name}").run(record)
    except ModuleNotFoundError as error:
        record.end("passed over", f"{error.name} is not installed")
        return 0
    except Exception as error:
        record.end("failed", " ".join(f"{type(error).__name__}: {error}".split())[:500])
        raise
    record.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
