"""The bodies of a multi-body refinement, and bodies.star, by which RELION takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stacycle.files import star
from stacycle.files.atomic import write_text

BODIES = "bodies.star"
_MASK = "rlnBodyMaskName"
# RELION 5.0.1 reads rlnBodySigmaOffset too, in px, and then does not use it: offsets have no prior.
_LABELS = (_MASK, "rlnBodyRotateRelativeTo", "rlnBodySigmaAngles", "rlnBodySigmaOffsetAngst")


@dataclass(frozen=True)
class Body:
    """A body: its mask's file, the body that it turns against ("": the largest other one), and how far it is expected
    to turn (degrees) and to shift (Å), as standard deviations."""

    name: str
    mask: str
    relative_to: str
    angles: float
    offset: float


def in_order(bodies: Sequence[Body], volumes: Mapping[str, float]) -> list[Body]:
    """The bodies as RELION wants them, the larger ones first; `volumes` are those of their masks, by name."""
    return sorted(bodies, key=lambda body: -volumes[body.name])


def write(path: str | Path, bodies: Sequence[Body]) -> None:
    """Write bodies.star, in the order given, which is in words at its top; RotateRelativeTo counts from 1."""
    names = [body.name for body in bodies]
    rows = []
    for body in bodies:
        against = body.relative_to or next(name for name in names if name != body.name)
        mask = f'"{body.mask}"' if " " in body.mask else body.mask
        rows.append(f"{mask} {names.index(against) + 1} {body.angles:g} {body.offset:.6g}")
    labels = [f"_{label} #{number}" for number, label in enumerate(_LABELS, 1)]
    write_text(path, "\n".join([f"# {' '.join(names)}", "", "data_", "", "loop_", *labels, *rows, ""]))


def names(path: str | Path) -> list[str]:
    """The names of the bodies, in the order of the file."""
    return Path(path).read_text(encoding="utf-8").partition("\n")[0].split()[1:]


def masks(path: str | Path) -> list[str]:
    """The files of the bodies' masks, in the order of the file. UserError if it is none."""
    return star.columns(path, "", [_MASK])[_MASK]
