"""Licences are taken by SPDX's identifier or the hub's name, and no other."""

import pytest

from alexnet.errors import UsageError
from alexnet.sharing.licences import LICENCES, OF_SPDX, licence


@pytest.mark.parametrize(
    ("given", "found"),
    [
        *(("Apache-2.0", "apache-2.0"), ("mit", "mit"), ("GPL-3.0-or-later", "gpl-3.0"), ("AGPL-3.0-only", "agpl-3.0")),
        *(("ODbL-1.0", "odbl"), ("CC-BY-NC-4.0", "cc-by-nc-4.0"), (" other ", "other"), ("LGPLLR", "lgpl-lr")),
    ],
)
def test_a_licence_is_known_by_spdx_and_by_the_hub(given: str, found: str) -> None:
    assert licence(given) == found


@pytest.mark.parametrize("given", ["", "apache", "proprietary", "MIT OR Apache-2.0", "all rights reserved"])
def test_an_unknown_licence_is_refused_with_what_to_do(given: str) -> None:
    with pytest.raises(UsageError, match=r"unknown licence .*; or other, and add its text"):
        licence(given)


def test_the_nearest_licence_is_named() -> None:
    with pytest.raises(UsageError, match=r"did you mean apache-2\.0\?"):
        licence("apache2.0")


def test_every_spelling_of_spdx_leads_to_a_name_of_the_hub() -> None:
    assert set(OF_SPDX.values()) <= LICENCES
    assert not OF_SPDX.keys() & LICENCES
