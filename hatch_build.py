"""Builds the native kernels into the package when it is installed, if there is a compiler; else says so and goes on."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src", "alexnet", "ops", "native")


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to a wheel, and leaves it beside its sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files."""
        sys.path.insert(0, str(Path(self.root) / NATIVE))
        import builder

        library = builder.build(Path(self.root) / NATIVE)
        if library is None:
            self.app.display_warning((Path(self.root) / NATIVE / builder.REASON).read_text(encoding="utf-8"))
            return
        build_data["artifacts"].append(str(NATIVE / library.name))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{builder.platform_tag()}"  # the library knows nothing of Python
