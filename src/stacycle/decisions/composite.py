"""The parts that a round focused on, together: each part's own map within its mask, and the consensus elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stacycle.decisions.agreement import spectra

ENOUGH = 8  # shells in which the greyscales of two maps are compared


def composite(consensus: np.ndarray, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """One map (n, n, n) of a consensus and of parts, each its map and mask (n, n, n; 0..1).

    A part is brought to the consensus's greyscale, by what both show at low resolution within its mask. Where masks
    meet, parts count by their masks.
    """
    total = np.zeros(consensus.shape, np.float32)
    density = np.zeros(consensus.shape, np.float32)
    for part, mask in parts:
        weight = np.clip(np.asarray(mask, np.float32), 0, 1)
        density += weight * _scale(part * weight, consensus * weight) * part
        total += weight
    density /= np.maximum(total, 1)
    return density + np.clip(1 - total, 0, 1) * consensus


def chimerax(consensus: str, parts: dict[str, str]) -> str:
    """Commands for ChimeraX that show the parts' maps, a colour each, over the consensus; files are beside them."""
    colours = ("cornflowerblue", "orange", "mediumseagreen", "orchid", "gold", "tomato")
    lines = [f"open {consensus}", "volume #1 color gray transparency 0.7"]
    for number, path in enumerate(parts.values(), 2):
        colour = colours[(number - 2) % len(colours)]
        lines += [f"open {path}", f"volume #{number} color {colour}"]
    return (
        "\n".join([f"# {name}: model {n}" for n, name in enumerate(["consensus", *parts], 1)] + lines) + "\n"
    )


def _scale(part: np.ndarray, consensus: np.ndarray) -> float:
    """The factor that brings a part's map to the greyscale of the consensus."""
    cross, of_part, _ = spectra(part, consensus)
    last = min(ENOUGH, len(cross))
    power = float(of_part[:last].sum())
    return float(cross[:last].sum()) / power if power > 0 and cross[:last].sum() > 0 else 1.0
