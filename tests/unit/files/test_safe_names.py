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
