"""Reading the MATLAB files that publishers describe their data in."""

from pathlib import Path
from typing import Any

from alexnet.errors import DataError


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """The variables `names` of a .mat file. Raises DataError when the file is damaged or lacks one of them."""
    from scipy.io import loadmat  # takes a quarter of a second to import

    try:
        variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    except Exception as error:  # SciPy raises a dozen kinds for a damaged file
        raise DataError(f"{path} cannot be read as a MATLAB file ({error}); get it again from its publisher") from error
    if missing := [name for name in names if name not in variables]:
        raise DataError(f"{path} lacks {', '.join(missing)}; get it again from its publisher")
    return variables
