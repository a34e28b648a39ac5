"""Names of rules where the workflow is imported, and search paths that keep what was in them."""

from __future__ import annotations

import os

import pytest

from stacycle.files import safe_names


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "/here/src"),
        ("", "/here/src"),
        ("/theirs", "/here/src:/theirs"),
        ("/a:/here/src::/b", "/here/src:/a:/b"),
    ],
)
def test_a_folder_is_put_before_the_others_once(before: str | None, after: str) -> None:
    assert safe_names.prepended("/here/src", before) == after.replace(":", os.pathsep)


@pytest.mark.parametrize(
    ("rule", "renamed", "own"),
    [
        ("align", "*", "align"),
        ("sta_align", "sta_*", "align"),
        ("cycle_mask", "cycle_*", "mask"),
        ("align_of_mine", "*_of_mine", "align"),
        ("mine", "mine", "mine"),
        ("theirs", "sta_*", "theirs"),
    ],
)
def test_a_rule_is_known_by_its_own_name_where_it_is_imported_under_another(
    rule: str, renamed: str, own: str
) -> None:
    assert safe_names.own(rule, renamed) == own
