"""The licences that a hub has a name for, and SPDX's identifiers of them.

The list is that of huggingface.co/docs/hub/repositories-licenses, read in November 2026; SPDX's is at
spdx.org/licenses.
"""

import difflib

from alexnet.errors import UsageError

LICENCES = frozenset(
    {
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "apple-amlr",
        "apple-ascl",
        "artistic-2.0",
        "bigcode-openrail-m",
        "bigscience-bloom-rail-1.0",
        "bigscience-openrail-m",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "bsl-1.0",
        "c-uda",
        "cc",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "cdla-sharing-1.0",
        "creativeml-openrail-m",
        "deepfloyd-if-license",
        "ecl-2.0",
        "epl-1.0",
        "epl-2.0",
        "etalab-2.0",
        "eupl-1.1",
        "eupl-1.2",
        "fair-noncommercial-research-license",
        "gemma",
        "gfdl",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "grok2-community",
        "h-research",
        "intel-research",
        "isc",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "lgpl-lr",
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
        "llama4",
        "lppl-1.3c",
        "mit",
        "mpl-2.0",
        "ms-pl",
        "ncsa",
        "odbl",
        "odc-by",
        "ofl-1.1",
        "openmdw-1.0",
        "openrail",
        "openrail++",
        "osl-3.0",
        "other",
        "pddl",
        "postgresql",
        "unknown",
        "unlicense",
        "wtfpl",
        "zlib",
    }
)
OF_SPDX = {
    "gfdl-1.1": "gfdl",
    "gfdl-1.2": "gfdl",
    "gfdl-1.3": "gfdl",
    "lgpllr": "lgpl-lr",
    "odbl-1.0": "odbl",
    "odc-by-1.0": "odc-by",
    "pddl-1.0": "pddl",
}
"""SPDX's identifiers, in small letters and without -only and -or-later, that a hub spells otherwise."""


UNSTATED = frozenset({"other", "unknown"})
"""Names that say nothing of what others may do."""


def licence(given: str) -> str:
    """The hub's name of a licence, given by that name or by SPDX's identifier; UsageError for any other."""
    plain = given.strip().lower().removesuffix("-only").removesuffix("-or-later")
    found = OF_SPDX.get(plain, plain)
    if found not in LICENCES:
        near = difflib.get_close_matches(plain, LICENCES, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"unknown licence {given!r}: {hint}give SPDX's identifier of one that the hub knows, such as apache-2.0, "
            "mit, cc-by-4.0 or cc-by-nc-4.0; or other, and add its text to the model's page"
        )
    return found
