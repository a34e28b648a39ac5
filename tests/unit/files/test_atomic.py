"""Files that are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stacycle.files.atomic import write_json, write_text


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_as_it_was_until_all_of_the_new_one_is_written(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new/state.json"
    write_json(path, {"Å": 1}, durable)
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "a" * 100_000 + "\udc80", durable)  # fails when a part of it is written
    assert json.loads(path.read_text()) == {"Å": 1}
