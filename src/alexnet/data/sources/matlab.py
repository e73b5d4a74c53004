"""MATLAB files that describe data sets."""

from pathlib import Path
from typing import Any

from alexnet.errors import DataError


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Variables of a .mat file, `names` at least. Raises DataError if the file is damaged or lacks one of these."""
    from scipy.io import loadmat  # slow to import

    try:
        variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    except Exception as error:  # SciPy raises many types for damaged files
        raise DataError(f"{path} cannot be read as a MATLAB file ({error}); get it again from its publisher") from error
    if missing := [name for name in names if name not in variables]:
        raise DataError(f"{path} lacks {', '.join(missing)}; get it again from its publisher")
    return variables
