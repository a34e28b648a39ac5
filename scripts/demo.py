"""The demo: simulate tilt series, average them with the embedded engine, compare with the truth, say where to look.

`python scripts/demo.py --pictures` makes the pictures of README and docs from a finished demo.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from stacycle.report import curve_figures, make

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
# Pictures of the page: name, screen, light or dark, and the part of it that is shown.
VIEWS = (
    ("first", 1280, 870, "light", ""),
    ("phone", 390, 844, "dark", ""),
    ("classes", 1180, 900, "light", "figure.classes"),
    ("mask", 680, 900, "light", "figure.tuner"),
    ("particles", 1080, 900, "light", "#inputs .figures"),
)


def call(*arguments: str, folder: Path = ROOT) -> None:
    """Run Python with these arguments in a folder; its failure ends the demo with its exit status."""
    status = subprocess.run([sys.executable, *arguments], cwd=folder).returncode
    if status:
        sys.exit(status)


def simulate() -> None:
    """Make the demo's data, unless these very data are there."""
    wanted, made = (ROOT / "config/demo_data.yaml").read_text(), DEMO / "simulated.yaml"
    if made.exists() and made.read_text() == wanted:
        return
    words = [word for name, value in yaml.safe_load(wanted).items() for word in (f"--{name}", str(value))]
    call("-m", "staengine", "simulate", "--o", str(DEMO), *words)
    made.write_text(wanted)


def draw_pictures() -> None:
    """The pictures of README and docs, from the demo's results."""
    pictures = ROOT / "docs/images"
    results = DEMO / "results"
    for name in ("fsc.png", "map.png"):
        shutil.copyfile(results / "final" / name, pictures / name)
    ladder = pd.read_csv(results / "ladder.tsv", sep="\t").fillna({"kept": ""})
    curve_figures.resolution_figure(ladder, pictures / "ladder.png")
    draw_page(make.write(DEMO), pictures)


def draw_page(page: Path, pictures: Path) -> None:
    """Pictures of the page as a browser shows it, on a screen and on a phone (needs Chromium)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        for name, width, height, scheme, shown in VIEWS:
            size = {"width": width, "height": height}
            tab = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            tab.goto(page.as_uri())
            tab.wait_for_selector("figure.surface.live")
            tab.evaluate("document.querySelector('.made code').textContent = 'demo'")
            taken = tab.locator(shown).first.screenshot() if shown else tab.screenshot()
            picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(96, dither=Image.Dither.NONE)
            picture.save(pictures / f"page-{name}.png", optimize=True)
        browser.close()


def main() -> None:
    if "--pictures" in sys.argv:
        return draw_pictures()
    started = time.perf_counter()
    print("Three rounds on simulated tilt series: 5 to 9 minutes on two cores.", flush=True)
    simulate()
    options = ("--config", "../config/demo.yaml", "--profile", "../profiles/demo")
    call("-m", "stacycle", "run", *options, folder=DEMO)
    print(f"\nDone in {time.perf_counter() - started:.0f} s. Look at")
    print("  demo/results/report.html                 every choice, curve and picture")
    print("  cd demo; ../.venv/bin/stacycle status    what each step reached; stacycle --help has more")
    print("  demo/results/ladder.tsv                  the resolution, step by step")
    print("  demo/results/bin4/select/classes.png     the classes")
    print("  demo/results/final/README.md             the final map and all that belongs to it")
    print("  demo/results/final/map.png               its surface, and slices")
    print(
        "  config/demo.yaml                         what was asked for; change it and make demo again",
        flush=True,
    )
    call("benchmarks/truth.py")


if __name__ == "__main__":
    main()
