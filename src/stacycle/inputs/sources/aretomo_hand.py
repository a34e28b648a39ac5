"""Which way defocus changes across an image (rlnTomoHand), from what AreTomo3 says of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stacycle.inputs.sources.aretomo_tables import Session
from stacycle.inputs.sources.source import Asked

_TURNS = (2, 0, 5)  # the version since which AreTomo3 turns the axis by 180° rather than keep a dfHand of -1
_ONLY_CTF = 3  # -Cmd: dfHand is then written as 1 whatever was found
_TURN = 4  # -Cmd: turn the axis
USUAL = -1


def hand_of(
    asked: Asked, of_rows: NDArray[np.floating], axis: float, session: Session
) -> tuple[int, str, tuple[str, str] | None]:
    """RELION's hand, where it is from, and what to warn of (what, cure), if anything.

    `of_rows` is dfHand in each row of _CTF.txt, 0 if it is not there; `axis` is ROT in degrees. dfHand is minus
    RELION's hand of the axis that it was found with (GScaleSpect2D.cu stretches the wrong way round). Since 2.0.5
    AreTomo3 turns the axis by 180° if it found -1, unless -TiltAxis forbids it; the hand of the turned axis is RELION's
    -1, but _CTF.txt keeps the -1 found before (CAreTomoMain.cpp:324-367). Never +1 without a reason that is told.
    """
    said, only_ctf = int(of_rows[0]), session.number("Cmd") == _ONLY_CTF
    wanted, mode = session.number("TiltAxis"), session.number("TiltAxis", 1)
    turned = wanted is not None and wanted != 0 and abs((axis - wanted + 180) % 360 - 180) > 90
    may_turn = bool(session.version) and session.version >= _TURNS and (mode is None or mode >= 0)
    doubt = None
    if turned and not (may_turn and said == -1) and session.number("Cmd") != _TURN:
        cure = "if the map is a mirror image, the other axis was right"
        doubt = f"ROT {axis:.1f}° is turned by 180° against -TiltAxis {wanted:g}", cure
    if asked.hand is not None:
        return asked.hand, "of the config", doubt
    if not said or only_ctf:
        why = f"AreTomo3 with -Cmd {_ONLY_CTF} writes dfHand 1 always" if said else "_CTF.txt has no dfHand"
        return USUAL, "assumed", _unless_open(asked, f"{why}: hand {USUAL} is assumed, as most data have")
    if turned:
        return USUAL, f"AreTomo3 turned the axis (dfHand {said} before)", doubt
    if said == 1:
        return -1, "minus dfHand 1 of _CTF.txt", None
    if may_turn and not wanted:
        return USUAL, "AreTomo3 turned the axis (dfHand -1 before)", None
    if session.path is None:
        why = f"dfHand is -1, and no AreTomo3_Session.json says whether the axis was turned: hand {USUAL} is assumed"
        return USUAL, "assumed", _unless_open(asked, why)
    why = "dfHand is -1, so hand +1 is taken: the tilt axis given to AreTomo3 is probably off by 180°"
    cure = "the map is then a mirror image: look at it, and at its hand"
    return 1, "minus dfHand -1 of _CTF.txt", (why, cure)


def _unless_open(asked: Asked, why: str) -> tuple[str, str] | None:
    return None if asked.hand_is_open else (why, "set hand, or hand: auto to test both signs")
