"""Hatchling build hook: compile the native kernels into the wheel.

Without a compiler the wheel has none, is tagged py3-none-any and runs on plain PyTorch, several times slower.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src", "alexnet", "ops", "native")


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the library beside its sources, where an editable install needs it, and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files of a wheel."""
        sys.path.insert(0, str(Path(self.root) / NATIVE))
        import builder

        library = builder.build(Path(self.root) / NATIVE)
        if library is None:
            self.app.display_warning((Path(self.root) / NATIVE / builder.REASON).read_text(encoding="utf-8"))
            return
        build_data["artifacts"].append(str(NATIVE / library.name))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{builder.platform_tag(library)}"  # it links to neither Python nor PyTorch
