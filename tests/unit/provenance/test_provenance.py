"""The lineage guard: what does not belong together is refused, whoever mixed it up, and no particle gets lost.

Held against RELION's own chain of golden/: extract, align, classify, select, refine, CTF refinement, polishing.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import least_seconds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stacycle.errors import ProgramFailed, UserError
from stacycle.files import content, optimisation_set, star, star_labels
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs.command import Command
from stacycle.provenance import audit, origin, particles, record
from stacycle.provenance.identity import identity

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
NOT_NEEDED = (
    "Subtomograms",
    "logs",
    "failures",
    "*.mrcs",
    "phantom*",
    "run_it00[0-4]*",
    "*_half?_model.star",
)
BEFORE_SELECT = ("extract", "average", "align", "classify")
AFTER_SELECT = (
    *("mask", "refine", "postprocess", "reconstruct_before", "mask_bin1", "post_before"),
    *("ctf", "ctf_rec", "ctf_post", "polish", "polish_rec", "polish_post"),
)
PARTICLES = ("extract/particles.star", "refine/run_data.star", "cycle/polish/particles.star")
TOMOGRAMS = ("input/tomograms.star", "cycle/ctf/tomograms.star", "cycle/polish/tomograms.star")
TRAJECTORIES = (None, "cycle/polish/motion.star")
STATES = {  # RELION's own
    ("extract/particles.star", "input/tomograms.star", None),
    ("refine/run_data.star", "input/tomograms.star", None),
    ("refine/run_data.star", "cycle/ctf/tomograms.star", None),
    ("cycle/polish/particles.star", "cycle/polish/tomograms.star", "cycle/polish/motion.star"),
}


def relions(name: str) -> Command:
    """A command that RELION was run with."""
    command = Command.of(shlex.split((GOLDEN / "logs" / f"{name}.command").read_text()))
    return Command(command.launcher, command.program.removesuffix("_alt"), command.flags)


def of(*words: str) -> Command:
    return Command.of(words)


def run(name: str) -> Path:
    """What job.run does around a program of golden/, whose products are there; some maps were not kept."""
    command = relions(name)
    out = command.get("--o")
    folder = Path(out) if out.endswith("/") else Path(out).parent
    origin.check(command)
    folder.mkdir(parents=True, exist_ok=True)
    if command.kind == "relion_tomo_reconstruct_particle":
        for half in ("half1.mrc", "half2.mrc", "merged.mrc"):
            if not (folder / half).exists():
                (folder / half).write_text(f"{half} of {out}")
    if command.kind == "relion_mask_create" and not Path(out).exists():
        Path(out).write_text("mask")
    assert record.of_program(command, folder) == []
    return folder


def select() -> None:
    """RELION's selection, of all classes, as a decision of ours."""
    state = OptimisationSet("select/particles.star", "input/tomograms.star")
    state.write("select/optimisation_set.star")
    record.of_decision("select", "classify")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RELION's own project, with the records that our jobs would have left."""
    folder = tmp_path_factory.mktemp("chain") / "project"
    shutil.copytree(GOLDEN, folder, ignore=shutil.ignore_patterns(*NOT_NEEDED))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        state = OptimisationSet("input/particles.star", "input/tomograms.star")
        state.write("input/optimisation_set.star")
        record.of_decision("input")
        for name in BEFORE_SELECT:
            run(name)
        select()
        for name in AFTER_SELECT:
            run(name)
    return folder


@pytest.fixture
def project(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to be damaged."""
    shutil.copytree(chain, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def as_it_is(chain: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(chain)
    return chain


# ------------------------------------------------------------ states


def test_relions_own_chain_belongs_together(as_it_is: Path) -> None:
    for name in (*BEFORE_SELECT, *AFTER_SELECT):
        origin.check(relions(name))
    assert audit.audit(".") == []
    assert json.loads(Path("refine/state.json").read_text())["half_sets"] == {"1": 30, "2": 34}


@pytest.mark.parametrize("mixed", list(product(PARTICLES, TOMOGRAMS, TRAJECTORIES)))
def test_any_two_files_of_different_states_are_refused_as_flags_and_as_a_set(
    as_it_is: Path, tmp_path: Path, mixed: tuple[str, str, str | None]
) -> None:
    particles, tomograms, trajectories = mixed
    by_hand = tmp_path / "optimisation_set.star"
    OptimisationSet(*mixed).write(by_hand)
    motion = [["--mot", trajectories], ["--trajectories", trajectories]] if trajectories else [[], []]
    commands = [
        of("relion_tomo_subtomo", "--p", particles, "--t", tomograms, *motion[0], "--o", "new/"),
        of("relion_refine_mpi", "--i", particles, "--tomograms", tomograms, *motion[1], "--o", "new/run"),
        of("relion_refine", "--ios", str(by_hand), "--o", "new/run"),
        of("relion_tomo_reconstruct_particle", "--i", str(by_hand), "--o", "new/"),
    ]
    for command in commands:
        if mixed in STATES:
            origin.check(command)
            continue
        with pytest.raises(UserError, match=r"do not belong together|no state\.json") as told:
            origin.check(command)
        assert particles in str(told.value)
        other = tomograms if (particles, tomograms) not in {state[:2] for state in STATES} else "trajectories"
        assert other in str(told.value) or "no state.json" in str(told.value)


def test_a_set_that_was_changed_by_hand_is_refused_where_it_lies(project: Path) -> None:
    edited = Path("cycle/polish/optimisation_set.star")
    edited.write_text(edited.read_text().replace("cycle/polish/tomograms.star", "input/tomograms.star"))
    with pytest.raises(
        UserError, match=r"cycle/polish/particles\.star and the tomograms input/tomograms\.star"
    ) as told:
        origin.check(relions("polish_rec"))
    assert "cycle/polish/tomograms.star" in str(told.value)


def test_trajectories_left_out_are_missed(as_it_is: Path) -> None:
    words = ["--p", "cycle/polish/particles.star", "--t", "cycle/polish/tomograms.star", "--o", "new/"]
    with pytest.raises(
        UserError, match=r"no trajectories do not belong .*the trajectories cycle/polish/motion\.star"
    ):
        origin.check(of("relion_tomo_subtomo", *words))


FILES = (
    *("cycle/polish/particles.star", "cycle/polish/tomograms.star", "cycle/polish/motion.star"),
    "cycle/polish/cycle/ctf/input/tilt_series/TS_01.star",
)


@given(path=st.sampled_from(FILES), at=st.floats(0.3, 1))
@settings(max_examples=30, deadline=None)
def test_one_digit_that_changed_in_any_file_of_a_state_is_noticed(chain: Path, path: str, at: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(chain)
        whole = Path(path).read_text()
        digits = [
            i for i, letter in enumerate(whole) if letter in "01234567" and whole[i - 1] in ".0123456789"
        ]
        i = digits[int(at * (len(digits) - 1))]
        try:
            Path(path).write_text(whole[:i] + chr(ord(whole[i]) + 1) + whole[i + 1 :])
            with pytest.raises(UserError):
                origin.check(relions("polish_rec"))
        finally:
            Path(path).write_text(whole)
        origin.check(relions("polish_rec"))


def test_particles_that_were_changed_since_are_refused(project: Path) -> None:
    path = Path("select/particles.star")
    path.write_text(path.read_text().rsplit("TS_02", 3)[0] + "\n")
    with pytest.raises(
        UserError, match=r"select/particles\.star is not what it was .*stacycle redo .*select/particles"
    ):
        origin.check(relions("refine"))


def test_a_state_brought_by_hand_is_refused_until_someone_vouches_for_it(project: Path) -> None:
    for name in ("particles", "tomograms"):
        Path("mine").mkdir(exist_ok=True)
        shutil.copy(f"input/{name}.star", f"mine/{name}.star")
    mine = Path("mine/particles.star")
    mine.write_text(mine.read_text() + "\n# mine\n")
    state = OptimisationSet("mine/particles.star", "mine/tomograms.star")
    state.write("mine/optimisation_set.star")
    command = of("relion_tomo_reconstruct_particle", "--i", "mine/optimisation_set.star", "--o", "new/")
    with pytest.raises(UserError, match=r"stacycle adopt mine/optimisation_set\.star"):
        origin.check(command)
    record.adopt("mine/optimisation_set.star")
    origin.check(command)


def test_where_tilt_series_lie_and_when_a_file_was_written_makes_no_other_state(project: Path) -> None:
    Path("moved").mkdir()
    text = Path("cycle/ctf/tomograms.star").read_text().replace("cycle/ctf/input/tilt_series", "moved")
    for path in Path("cycle/ctf/input/tilt_series").iterdir():
        Path("moved", path.name).write_text("# written at noon\n" + path.read_text())
    Path("moved/tomograms.star").write_text("# written at noon\n" + text)
    command = of(
        "relion_refine", "--ios", "cycle/ctf/optimisation_set.star", "--tomograms", "moved/tomograms.star"
    )
    origin.check(command)
    series = Path("moved/TS_01.star")
    series.write_text(series.read_text().replace("1", "2", 40))
    with pytest.raises(UserError, match=r"moved/tomograms\.star"):
        origin.check(command)


def test_a_missing_file_is_named(project: Path) -> None:
    Path("cycle/polish/motion.star").unlink()
    with pytest.raises(UserError, match=r"cycle/polish/motion\.star: there is no such file"):
        origin.check(relions("polish_rec"))


# ------------------------------------------------------------ half maps and FSC


def with_flag(name: str, **changes: str) -> Command:
    command = relions(name)
    return Command(
        (), command.program, command.flags | {f"--{flag}": [value] for flag, value in changes.items()}
    )


OTHER = {
    "ref1": (
        "cycle/reconstruct/half1.mrc",
        r"half1\.mrc does not belong to cycle/ctf/optimisation_set\.star",
    ),
    "ref2": (
        "cycle/reconstruct/half2.mrc",
        r"half2\.mrc does not belong to cycle/ctf/optimisation_set\.star",
    ),
    "fsc": ("cycle/before/postprocess.star", r"postprocess\.star does not belong to cycle/ctf/optim"),
    "i": ("refine/run_optimisation_set.star", r"does not belong to refine/run_optimisation_set\.star"),
}


@pytest.mark.parametrize("flag", OTHER)
def test_references_of_another_state_are_refused(as_it_is: Path, flag: str) -> None:
    """Polishing CTF-refined tomograms against half maps and FSC from before, as the nearest peer does."""
    other, told = OTHER[flag]
    with pytest.raises(UserError, match=told) as error:
        origin.check(with_flag("polish", **{flag: other}))
    assert "input/tomograms.star" in str(error.value)
    assert "cycle/ctf/tomograms.star" in str(error.value)


def test_a_whole_bundle_of_the_state_before_is_refused(as_it_is: Path) -> None:
    before = {flag: path for flag, (path, _) in OTHER.items() if flag != "i"}
    with pytest.raises(UserError, match="does not belong to cycle/ctf"):
        origin.check(with_flag("polish", **before))


def test_the_fsc_of_other_half_maps_of_the_same_state_is_refused(as_it_is: Path) -> None:
    with pytest.raises(
        UserError, match=r"postprocess/postprocess\.star is not the FSC of cycle/reconstruct/half1"
    ):
        origin.check(with_flag("ctf", fsc="postprocess/postprocess.star"))


def test_half_maps_given_the_wrong_way_round_are_refused(as_it_is: Path) -> None:
    swapped = with_flag("ctf", ref1="cycle/reconstruct/half2.mrc", ref2="cycle/reconstruct/half1.mrc")
    with pytest.raises(UserError, match=r"half2\.mrc was given as the map of half1"):
        origin.check(swapped)


def test_a_half_map_that_was_replaced_is_noticed_before_post_processing(project: Path) -> None:
    shutil.copy("cycle/reconstruct/half1.mrc", "cycle/reconstruct/half2.mrc")
    for name in ("post_before", "ctf"):
        with pytest.raises(UserError, match=r"cycle/reconstruct/half2\.mrc is not what it was"):
            origin.check(relions(name))


def test_a_map_of_unknown_origin_is_no_half_map(project: Path) -> None:
    Path("mine").mkdir()
    for half in ("half1.mrc", "half2.mrc"):
        shutil.copy(f"cycle/reconstruct/{half}", f"mine/{half}")
    with pytest.raises(UserError, match=r"mine/half1\.mrc: no state\.json beside it"):
        origin.check(with_flag("post_before", i="mine/half1.mrc"))


# ------------------------------------------------------------ particles and half sets


def rewrite(path: str, change) -> None:
    """Change the rows of a particle file, each a dictionary of texts; the other tables stay."""
    tables = star.read(path)
    rows = change(tables["particles"].to_dict("records"))
    tables["particles"] = tables["particles"].__class__(rows)
    star.write(path, tables)


def swap_half(rows: list[dict]) -> list[dict]:
    rows[3]["rlnRandomSubset"] = 3 - rows[3]["rlnRandomSubset"]
    return rows


def put_on_each_other(rows: list[dict], number: int) -> list[dict]:
    """Move so many particles of half set 2 onto one each of half set 1."""
    ones, twos = ([row for row in rows if row["rlnRandomSubset"] == half] for half in (1, 2))
    for one, two in list(zip(ones, twos, strict=False))[:number]:
        for label in ("rlnTomoName", *star_labels.CENTRED, *star_labels.ORIGINS):
            two[label] = one[label]
        two[star_labels.ORIGINS[0]] += 1.0
    return rows


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (swap_half, r"1 particles, as TS_01/\d+, are in another half set in cycle/polish/particles\.star"),
        (lambda rows: rows[1:], r"1 of 64 particles of refine/run_data\.star are not in .*nothing says why"),
        (lambda rows: [*rows[1:], rows[1]], r"has the particle TS_01/\d+ twice"),
        (lambda rows: [*rows, {**rows[0], "rlnTomoParticleName": "TS_01/999"}], r"65 particles, .* only 64"),
        (
            lambda rows: [*rows[1:], {**rows[0], "rlnTomoParticleName": "TS_01/999"}],
            r"as TS_01/999, that refine",
        ),
        (
            lambda rows: [{k: v for k, v in row.items() if k != "rlnRandomSubset"} for row in rows],
            "another half",
        ),
    ],
)
def test_what_no_program_may_do_to_particles_is_found_after_it_and_by_the_audit(
    project, change, told
) -> None:
    rewrite("cycle/polish/particles.star", change)
    with pytest.raises(ProgramFailed, match=told):
        record.of_program(relions("polish"), "cycle/polish")
    changed = json.loads(Path("cycle/polish/state.json").read_text())  # as if nobody had looked
    changed |= identity(OptimisationSet(*(changed[kind][0] for kind in optimisation_set.KINDS)))
    Path("cycle/polish/state.json").write_text(json.dumps(changed))
    faults = audit.audit("cycle/polish")
    assert any("cycle/polish/particles.star" in fault for fault in faults)


def test_many_particles_in_both_half_sets_are_refused(project: Path) -> None:
    rewrite("cycle/polish/particles.star", lambda rows: put_on_each_other(rows, 6))
    with pytest.raises(ProgramFailed, match=r"6 of 64 particles .*within 20 Å .*class3d and select"):
        record.of_program(relions("polish"), "cycle/polish")


def test_few_particles_in_both_half_sets_are_reported(project: Path) -> None:
    rewrite("cycle/polish/particles.star", lambda rows: put_on_each_other(rows, 2))
    (note,) = record.of_program(relions("polish"), "cycle/polish")
    assert "picked twice" in note
    assert json.loads(Path("cycle/polish/state.json").read_text())["in_both"] == 2


def test_half_sets_of_particles_without_names_are_known_by_their_places(project: Path) -> None:
    """Names that are not unique over all input sets are given anew by extraction."""

    def halved(rows: list[dict]) -> list[dict]:
        return [
            row | {"rlnRandomSubset": 1 + int(row["rlnCenteredCoordinateXAngst"] // 7) % 2} for row in rows
        ]

    rewrite("input/particles.star", halved)
    record.of_decision("input")
    rewrite("extract/particles.star", halved)
    record.of_program(relions("extract"), "extract")
    rewrite("extract/particles.star", swap_half)
    with pytest.raises(ProgramFailed, match=r"1 particles, as TS_01 .* are in another half set"):
        record.of_program(relions("extract"), "extract")


def test_a_position_that_is_no_number_is_reported(project: Path) -> None:
    rewrite(
        "cycle/polish/particles.star", lambda rows: [{**rows[0], "rlnOriginXAngst": float("nan")}, *rows[1:]]
    )
    with pytest.raises(ProgramFailed, match=r"particles\.star: a position or half set is not a number"):
        record.of_program(relions("polish"), "cycle/polish")


def test_trajectories_must_not_get_lost(project: Path) -> None:
    words = "--p cycle/polish/particles.star --t cycle/polish/tomograms.star --mot cycle/polish/motion.star --o again/"
    Path("again").mkdir()
    shutil.copy("cycle/polish/particles.star", "again")
    state = OptimisationSet("again/particles.star", "cycle/polish/tomograms.star")
    state.write("again/optimisation_set.star")
    with pytest.raises(ProgramFailed, match=r"went on with no trajectories, but was given .*motion\.star"):
        record.of_program(of("relion_tomo_subtomo", *words.split()), "again")


def test_extraction_may_leave_out_particles_and_says_how_many(project: Path) -> None:
    rewrite("extract/particles.star", lambda rows: rows[5:])
    record.of_program(relions("extract"), "extract")
    counts = json.loads(Path("extract/state.json").read_text())["counts"]
    assert counts["dropped"] == {"seen in too few tilt images": 5}


def test_a_program_that_continues_with_other_tomograms_is_not_trusted(project: Path) -> None:
    edited = Path("refine/run_optimisation_set.star")
    edited.write_text(edited.read_text().replace("input/tomograms.star", "cycle/ctf/tomograms.star"))
    with pytest.raises(ProgramFailed, match=r"went on with the tomograms cycle/ctf/tomograms\.star"):
        record.of_program(relions("refine"), "refine")


@given(
    places=st.lists(
        st.tuples(st.sampled_from("ab"), *[st.floats(-30, 30)] * 3, st.sampled_from("12")), max_size=25
    ),
    distance=st.floats(0.5, 40),
)
@settings(max_examples=100, deadline=None)
def test_particles_near_each_other_are_found_as_by_comparing_all(places, distance) -> None:
    labels = ["rlnTomoName", *star_labels.CENTRED, star_labels.SUBSET]
    table = {label: [str(place[i]) for place in places] for i, label in enumerate(labels)}
    apart = {
        (i, j): np.linalg.norm(np.subtract(a[1:4], b[1:4]))
        for i, a in enumerate(places)
        for j, b in enumerate(places[:i])
        if a[0] == b[0]
    }
    assume(not any(math.isclose(found, distance) for found in apart.values()))
    near = [pair for pair, found in apart.items() if found < distance]
    assert particles.in_both_halves(table, distance) == sum(places[i][4] != places[j][4] for i, j in near)
    gone = particles.picked_twice(table, distance)
    stay = set(range(len(places))) - set(gone)
    assert not any(i in stay and j in stay for i, j in near)
    assert all(any(i == row and j in stay for i, j in near) for row in gone)


@given(
    st.lists(st.floats(-180, 180), min_size=3, max_size=3), st.lists(st.floats(-9, 9), min_size=3, max_size=3)
)
def test_origins_are_measured_in_the_frame_of_the_subtomogram(angles, origin) -> None:
    table = {label: ["100"] for label in star_labels.CENTRED}
    table |= {label: [str(x)] for label, x in zip(star_labels.ORIGINS, origin, strict=True)}
    table |= {label: [str(x)] for label, x in zip(star_labels.TURNS, angles, strict=True)}
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).inv().apply(origin)
    np.testing.assert_allclose(particles.positions(table)[0], 100 - turned, atol=1e-9)
    others = star_labels.ORIGINS[1:]  # which are 0 where they are absent
    table |= {label: ["0"] for label in others}
    alone = {label: column for label, column in table.items() if label not in others}
    np.testing.assert_array_equal(particles.positions(alone), particles.positions(table))


# ------------------------------------------------------------ the record itself


def test_the_same_outcome_gives_the_same_record(project: Path) -> None:
    records = {path: path.read_bytes() for path in Path(".").rglob("state.json")}
    for name in (*BEFORE_SELECT, *AFTER_SELECT):
        run(name)
    assert {path: path.read_bytes() for path in records} == records


def test_a_decision_on_tomograms_other_than_those_it_started_from_is_refused(project: Path) -> None:
    state = OptimisationSet("select/particles.star", "cycle/ctf/tomograms.star")
    state.write("select/optimisation_set.star")
    with pytest.raises(ProgramFailed, match=r"cycle/ctf/tomograms\.star"):
        record.of_decision("select", "classify", dropped={})


def miscount(folder: str) -> None:
    path = Path(folder, "state.json")
    record = json.loads(path.read_text())
    record["counts"]["in"] += 1
    path.write_text(json.dumps(record))


def extract_again() -> None:
    """As someone would by hand, so that nothing after it is made anew."""
    with open("extract/particles.star", "a") as file:
        file.write("\n")
    record.of_program(relions("extract"), "extract")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda: Path("classify/state.json").unlink(), "select/state.json: classify, which it was made of"),
        (lambda: miscount("refine"), "refine/state.json: says 65 particles in, 64 out; it is 64, 64"),
        (extract_again, "average/state.json: extract, which it was made of, is not the state"),
        (lambda: Path("postprocess/postprocess.star").write_text("x"), "postprocess.star is not what it was"),
        (lambda: Path("refine/run_data.star").unlink(), "refine/run_data.star: there is no such file"),
        (lambda: Path("refine/state.json").write_text("{"), "refine/state.json: is damaged"),
    ],
)
def test_the_audit_of_a_project_finds(project: Path, damage, told: str) -> None:
    assert audit.audit(".") == []
    damage()
    assert any(told in fault for fault in audit.audit("."))


def test_records_of_earlier_runs_that_were_moved_aside_are_not_audited(project: Path) -> None:
    shutil.copytree("refine", "refine.previous1")
    Path("refine.previous1/run_class001.mrc").write_text("old")
    assert audit.audit(".") == []


# ------------------------------------------------------------ speed


def write_many(folder: str, number: int, tomograms: int, rng: np.random.Generator) -> None:
    """A state of so many particles as RELION writes them, at random places."""
    Path(folder).mkdir()
    labels = [
        "rlnTomoName",
        *star_labels.CENTRED,
        *star_labels.ORIGINS,
        *star_labels.TURNS,
        star_labels.PARTICLE_NAME,
        star_labels.SUBSET,
    ]
    labels += ["rlnTomoVisibleFrames", "rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    places = rng.uniform(-4000, 4000, (number, 3))
    rows = [
        f"TS_{i % tomograms} {x:.6f} {y:.6f} {z:.6f} 1.25 -2.5 3.75 10 20 30 TS_{i % tomograms}/{i} {1 + i % 2} "
        f"[{','.join('1' * 41)}] extract/Subtomograms/TS_{i % tomograms}/{i}_stack2d.mrcs 12.345678 23.456789 34.567890"
        for i, (x, y, z) in enumerate(places)
    ]
    head = "\n".join(f"_{label} #{i}" for i, label in enumerate(labels, 1))
    particles = f"{folder}/particles.star"
    Path(particles).write_text("\n".join(["data_particles\n\nloop_", head, *rows]) + "\n")
    OptimisationSet(particles, "tomograms.star").write(f"{folder}/optimisation_set.star")


@pytest.mark.slow
def test_50_000_particles_in_500_tomograms_are_checked_and_recorded_within_2_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    tilts = (GOLDEN / "input/tilt_series/TS_01.star").read_text()
    for i in range(500):
        Path(f"TS_{i}.star").write_text(tilts)
    rows = [f"TS_{i} 1.91 TS_{i}.star" for i in range(500)]
    head = f"data_global\n\nloop_\n_rlnTomoName #1\n_{star_labels.PIXEL} #2\n_{star_labels.SERIES} #3"
    Path("tomograms.star").write_text("\n".join([head, *rows]) + "\n")
    for folder in ("before", "after"):
        write_many(folder, 50_000, 500, rng)
    record.of_decision("before")
    command = of("relion_tomo_align", "--i", "before/optimisation_set.star", "--o", "after/")

    def check_and_record() -> None:
        content._read.cache_clear()
        origin.check(command)
        record.of_program(command, "after")

    took = least_seconds(check_and_record, limit=2)
    record_property("lineage: 50,000 particles, 500 tomograms, check and record", f"{took:.2f} s of one core")
    assert took < 2
