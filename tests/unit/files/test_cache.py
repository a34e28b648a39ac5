"""The cache: an answer is valid for its question, as long as its files stay as they were."""

from pathlib import Path

from stacycle.files.cache import Cache


def test_an_answer_is_valid_for_its_question_until_a_file_changes_or_appears(tmp_path: Path) -> None:
    data, absent = tmp_path / "data", tmp_path / "absent"
    data.write_text("1")
    Cache(tmp_path / "cache").put("sum", [1, 2], {"sum": 3}, [str(data), str(absent)])
    again = Cache(tmp_path / "cache")
    assert again.get("sum", [1, 2]) == {"sum": 3}
    assert again.get("sum", [1, 3]) is None
    assert again.get("product", [1, 2]) is None
    absent.write_text("")
    assert again.get("sum", [1, 2]) is None


def test_a_damaged_cache_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text('{"sum": 3, "cut')
    assert Cache(tmp_path / "cache").get("sum", [1]) is None
    (tmp_path / "cache").write_text('{"sum": 3}')
    assert Cache(tmp_path / "cache").get("sum", [1]) is None
