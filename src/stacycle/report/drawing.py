"""What all figures share: colours (Okabe and Ito's, safe for the colour-blind), style, and how they are written."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8F98"
PINK, SKY = "#CC79A7", "#56B4E9"
INK = "#1F2430"
LINE, SHADE = "#E4E6EA", "#ECEEF1"
DPI = 150
Target = str | Path | IO[bytes]  # where a figure goes
# On the page these follow its light or dark colours (report.css).
THEMED = {INK: "var(--ink)", LINE: "var(--line)", SHADE: "var(--line)", "#ffffff": "var(--paper)"}
THEMED |= {"#9a6a00": "var(--warn-ink)", BLUE: "var(--blue)"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "image.cmap": "gray",
    "svg.fonttype": "none",
    "svg.hashsalt": "stacycle",
}


@contextmanager
def drawn(path: Target, width: float, height: float, layout: str | None = "constrained") -> Iterator[Figure]:
    """An empty figure of this size in inches, written to `path` when it has been drawn on: as PNG, or as SVG to a file
    that is open."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout=layout, facecolor="white")  # type: ignore[arg-type]
        yield figure
        save(figure, path)


def save(figure: Figure, path: Target) -> None:
    """Write a figure, as PNG, or as SVG to a file that is open: the same bytes each time."""
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
    else:
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def inline(svg: bytes, prefix: str, label: str) -> str:
    """A figure's SVG as a part of a page: with the page's colours and fonts, named `label`, and with ids, of which it
    has only those that it uses, that begin with the `prefix`."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', text))
    text = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", text)
    for colour, variable in THEMED.items():
        text = re.sub(rf"{colour}\b", variable, text, flags=re.IGNORECASE)
    text = re.sub(r"<[^>]+>", lambda tag: _shorter(tag[0]), text)
    text = re.sub(r">\s+<", "><", re.sub(r"\n\s*", " ", text))
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size
    width = float(size[1]) * 100 / 72  # an inch is 100 px of the page
    head = f'<svg role="img" aria-label="{html.escape(label)}" viewBox="{size[0][9:-1]}" style="width:{width:.0f}px">'
    return re.sub(r"<svg[^>]*>", head, text, count=1).replace("xlink:href", "href").strip()


def _shorter(tag: str) -> str:
    """A tag with numbers to a tenth of a point, without the fonts and the turns by nothing."""
    if tag.startswith("<image"):  # its place is a product of small numbers
        return tag
    tag = re.sub(r' font-family: [^;"]*;?| transform="rotate\(-0 [^"]*"|; stroke-linecap: square', "", tag)
    return re.sub(r"(\d+\.\d)\d+", r"\1", tag)
