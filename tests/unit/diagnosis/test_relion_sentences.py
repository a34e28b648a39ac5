"""The error sentences of RELION that a step can reach are explained, and they are found in its source."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import relion_sentences
from relion_sentences import INTERNAL, KINDS, PROMISED, PROMISED_SHARE, UNREACHABLE, Sentence, count, table


def test_nearly_all_that_relion_says_of_input_files_flags_and_masks_is_explained(
    record_property: Callable,
) -> None:
    for kind, (explained, of) in count(table()).items():
        if kind != INTERNAL:
            record_property(f"RELION's error sentences about {kind} explained", f"{explained} of {of}")
        if kind in PROMISED:
            assert of > 5
            assert explained >= PROMISED_SHARE * of, kind
    assert not relion_sentences.too_few(table())


def test_every_sentence_is_of_a_kind_and_by_a_program_or_has_a_reason() -> None:
    for sentence in table():
        assert sentence.kind in (*KINDS, UNREACHABLE), sentence
        assert (sentence.by in relion_sentences.PROGRAMS) == (sentence.kind != UNREACHABLE), sentence
        assert sentence.words
    assert len({(sentence.file, sentence.words) for sentence in table()}) == len(table())


def test_a_check_of_relions_own_code_is_reported_as_it_is_and_never_guessed_at() -> None:
    for sentence in table():
        if sentence.kind == INTERNAL:
            found = sentence.diagnosis()
            first = sentence.words.split("\n")[0].format(**relion_sentences.VALUES).removeprefix("ERROR ")
            assert found.kind == "unknown", sentence
            assert first.rstrip(" .!")[:40] in found.cause, sentence


def test_sentences_of_different_kinds_do_not_share_a_cause() -> None:
    shared: dict[str, set[str]] = {}
    for sentence in table():
        if sentence.kind not in (UNREACHABLE, INTERNAL) and sentence.explained:
            shared.setdefault(sentence.diagnosis().cause, set()).add(sentence.kind)
    assert [cause for cause, kinds in shared.items() if len(kinds) > 1] == []


@pytest.fixture
def relion(tmp_path: Path) -> Path:
    """A source tree as RELION's: a program, a header that it includes, one that nothing includes."""
    source = tmp_path / "src"
    (source / "apps").mkdir(parents=True)
    (source / "apps/refine.cpp").write_text(
        '#include "src/image.h"\nint main() {\n'
        '  if (!a) REPORT_ERROR("ERROR: no " + fn_in + " here,\\n or " + integerToString(n) + " (it)");\n'
        '  // REPORT_ERROR("a comment");\n'
        "  CRITICAL(ERRNAMED);\n"
        '  std::cerr << "ERROR: out of " << n << std::endl;\n'
        '  std::cerr << "all is well" << std::endl;\n}\n'
    )
    (source / "image.h").write_text("// a header\n")
    (source / "image.cpp").write_text('void f() { REPORT_ERROR_STR("a box of " << XSIZE(I) << " px"); }\n')
    (source / "other.cpp").write_text('void g() { REPORT_ERROR("nobody includes this"); }\n')
    (source / "error.h").write_text('#define ERRNAMED ("It has a name.\\n\\\nAnd two lines.")\n')
    return tmp_path


def test_the_sentences_are_found_in_the_source(relion: Path) -> None:
    assert list(relion_sentences.sentences_of(relion)) == [
        ("apps/refine.cpp", "It has a name.\nAnd two lines."),
        ("apps/refine.cpp", "no {file} here,\nor {n} (it)"),
        ("apps/refine.cpp", "out of {n}"),
        ("image.cpp", "a box of {n} px"),
    ]


def test_a_sentence_of_the_source_that_the_table_lacks_is_reported(relion: Path, capsys) -> None:
    known = [
        Sentence("apps/refine.cpp", "flags", "refine", "out of {n}"),
        Sentence("image.cpp", UNREACHABLE, "x", "*"),
    ]
    found, missing = relion_sentences.from_source(relion, known)
    assert {(one.kind, one.words) for one in found} == {
        ("flags", "out of {n}"),
        (UNREACHABLE, "a box of {n} px"),
    }
    assert len(missing) == 2
    assert relion_sentences.main(["--relion", str(relion)]) == 1
    assert "not in the table: image.cpp: a box of {n} px" in capsys.readouterr().out


def test_the_counts_are_shown_and_what_is_not_explained(capsys) -> None:
    assert relion_sentences.main(["--unexplained"]) == 0
    out = capsys.readouterr().out
    explained, of = count(table())["input files"]
    assert f"input files {explained:>21}{of:>7}" in out
    assert "that none can reach: " in out
