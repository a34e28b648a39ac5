"""The page in a real browser: it fits screens and phones, light and dark, and answers to mouse, keys and sliders."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden_project
import numpy as np
import pytest
import yaml

from stacycle.decisions.decision import Decision, write_decision
from stacycle.files import mrc
from stacycle.recipe import config
from stacycle.report import resolution
from stacycle.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MUST = os.environ.get("STACYCLE_BROWSER_TESTS") == "1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not (CHROMIUM or MUST), reason="no Chromium is here"),
]
SCREENS = {"screen": (1280, 900), "phone": (390, 844)}
DRAWING = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the golden project, with a local resolution of its last map, which is finer on one side."""
    folder = golden_project.make(tmp_path_factory.mktemp("project"))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        project = replace(golden_project.PROJECT, unreadable=[], config={"particle": {"diameter": 260}})
        rows = resolution.resolutions(project)
        last = next(row for row in reversed(rows) if Path(row.map).is_file())
        shape, pixel = mrc.voxels(last.map).shape, mrc.header(last.map).pixel
        local = Path("results/bin4/local_resolution")
        mrc.write_map(local / "relion_locres_filtered.mrc", mrc.voxels(last.map), pixel)
        coarse = np.linspace(10, 30, shape[2]) * np.ones(shape)
        mrc.write_map(local / "relion_locres.mrc", coarse.astype(np.float32), pixel)
        told = {"median": 20.0, "finest": 12.0, "coarsest": 28.0}
        numbers = {"resolution": 20.0, "nyquist": 2 * pixel}
        decision = Decision("Local resolution", told, "rule", "It follows.", numbers=numbers)
        write_decision(local / "decision.json", decision)
        round_ = project.rounds[0] | {
            "steps": [*project.rounds[0]["steps"][:-1], "local_resolution", "cycle"]
        }
        decisions = [*project.decisions, f"{local}/decision.json"]
        project = replace(project, rounds=[round_], decisions=decisions)
        write_report("report.html", project, resolution.resolutions(project))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(DRAWING))
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the page on a screen; at the end no script may have failed, or said anything on the console."""
    contexts, faults = [], []

    def opened(screen: str = "screen", scheme: str = "light", of: Any = browser) -> Any:
        width, height = SCREENS[screen]
        size = {"width": width, "height": height}
        context = of.new_context(viewport=size, color_scheme=scheme, has_touch=screen == "phone")
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(page_file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults


def drawn(page: Any, selector: str = "figure.surface canvas") -> str:
    """The pixels of a canvas, in base64."""
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def surface(page: Any) -> Any:
    """The surface, when it has been drawn."""
    page.wait_for_selector("figure.surface.live")
    return page.locator("figure.surface")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_all_of_the_page_is_there_and_nothing_is_wider_than_the_screen(
    opened: Any, screen: str, scheme: str
) -> None:
    page = opened(screen, scheme)
    surface(page)
    assert page.evaluate("document.documentElement.scrollWidth") == SCREENS[screen][0]
    shown = page.evaluate(
        """() => [...document.querySelectorAll(".plots svg, figure img, .image canvas, figure.surface canvas")]
        .map((one) => [one.getBoundingClientRect(), one.complete === false || one.naturalWidth === 0, one.tagName])
        .map(([box, broken, name]) => [name, broken, box.left, box.right, box.width, box.height])"""
    )
    assert len(shown) > 30
    for name, broken, left, right, width, height in shown:
        assert not broken
        assert min(width, height) > 40, name
        assert left >= 0
        assert right <= SCREENS[screen][0] + 0.5
    kinds = {"surface": 1, "classes": 1, "tuner": 1, "slices": 4, "plot": 12}
    counted = {kind: page.locator(f"figure.{kind}").count() for kind in kinds}
    assert counted == kinds


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_in_figures_stand_out_from_the_paper(opened: Any, scheme: str) -> None:
    page = opened("screen", scheme)
    words, paper = page.evaluate(
        """() => [getComputedStyle(document.querySelector(".plots svg text")).fill,
        getComputedStyle(document.querySelector(".plots svg path")).fill]"""
    )
    grey = {
        name: np.mean(eval(colour.removeprefix("rgb")))
        for name, colour in (("words", words), ("paper", paper))
    }
    assert abs(grey["words"] - grey["paper"]) > 180
    assert (grey["words"] < grey["paper"]) == (scheme == "light")


def test_a_warning_leads_to_the_section_that_it_is_about(opened: Any) -> None:
    page = opened()
    links = page.locator(".look a[href='#bin4-cycle1']")
    links.first.click()
    page.wait_for_function("location.hash === '#bin4-cycle1'")
    place = page.locator("#bin4-cycle1").bounding_box()["y"]
    assert -5 < place < 200


@pytest.mark.parametrize("screen", SCREENS)
def test_what_was_reached_and_the_surface_are_on_the_first_screens(opened: Any, screen: str) -> None:
    page = opened(screen)
    height = SCREENS[screen][1]
    top = {
        name: page.locator(name).first.bounding_box()["y"] for name in (".card", "figure.surface", ".summary")
    }
    assert top[".card"] < 0.5 * height
    assert page.locator(".look").bounding_box()["y"] < height
    assert top["figure.surface"] < height
    assert top[".summary"] < (2 if screen == "phone" else 1) * height


def test_the_surface_turns_when_it_is_dragged_or_by_keys(opened: Any) -> None:
    page = opened()
    box = surface(page).locator("canvas").bounding_box()
    views = [drawn(page)]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 20, steps=4)
    page.mouse.up()
    views.append(drawn(page))
    page.mouse.move(x - 60, y)  # not held: it stays
    assert drawn(page) == views[-1]
    page.locator("figure.surface canvas").press("ArrowLeft")
    views.append(drawn(page))
    assert len(set(views)) == 3


def test_the_slider_moves_the_level_and_what_it_encloses(opened: Any) -> None:
    page = opened()
    of_surface = surface(page)
    slider, told = of_surface.locator("input"), of_surface.locator("output")
    seen, first = [drawn(page)], told.text_content()
    for value in ("250", "700"):
        slider.fill(value)
        seen.append(drawn(page))
    assert len(set(seen)) == 3
    assert first != told.text_content()
    level, volume = (float(one) for one in re.findall(r"[\d.]+", told.text_content()))
    line = of_surface.locator(".in-chimerax").text_content()
    assert line == f"open results/bin4/local_resolution/relion_locres_filtered.mrc; volume #1 level {level:g}"
    slider.fill("250")
    assert float(told.text_content().split()[-2]) > volume  # a lower level encloses more


def test_local_resolution_colours_the_surface_from_fine_to_coarse(opened: Any) -> None:
    page = opened()
    assert "coloured" in surface(page).get_attribute("class")
    assert "12 to 28 Å" in page.locator(".colours").text_content()
    reds = page.evaluate(
        """() => { const gl = document.querySelector("figure.surface canvas").getContext("webgl2");
        const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight], all = new Uint8Array(4 * w * h);
        gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, all);
        const sides = [[0, 0], [0, 0]];
        for (let i = 0; i < w * h; i++) if (all[4 * i + 3]) {
          const side = sides[i % w < w / 2 ? 0 : 1]; side[0] += all[4 * i]; side[1] += all[4 * i + 2]; }
        return sides.map(([red, blue]) => red / blue); }"""
    )
    assert reds[1] > 1.3 * reds[0]  # 1.47: x grows to the right, and so does the resolution in Å
    page.locator("figure.surface select").select_option(index=1)
    page.wait_for_selector("figure.surface:not(.coloured)")


def test_classes_by_click_make_the_line_of_the_config(opened: Any) -> None:
    page = opened()
    figure = page.locator("figure.classes")
    line, told = figure.locator(".config-line"), figure.locator("output")
    assert yaml.safe_load(line.text_content()) == {"rounds": {"bin4": {"select": {"classes": [1, 2, 3]}}}}
    second = figure.locator("button.class").nth(1)
    second.click()
    assert second.locator(".judged").text_content() == "rejected"
    assert float(second.evaluate("one => getComputedStyle(one.querySelector('img')).opacity")) == 1
    chosen = yaml.safe_load(line.text_content())
    assert chosen == {"rounds": {"bin4": {"select": {"classes": [1, 3]}}}}
    checked(chosen)
    counts = [int(one.get_attribute("data-count")) for one in figure.locator("button.class").all()]
    assert told.text_content() == f"{counts[0] + counts[2]} particles are kept"
    second.click()
    assert yaml.safe_load(line.text_content())["rounds"]["bin4"]["select"] == {"classes": [1, 2, 3]}


def test_the_masks_slider_moves_the_contour_the_volume_and_the_line(opened: Any) -> None:
    page = opened()
    figure = page.locator("figure.tuner")
    figure.scroll_into_view_if_needed()
    line, told, slider = figure.locator(".config-line"), figure.locator("output"), figure.locator("input")
    assert yaml.safe_load(line.text_content()) == {"rounds": {"bin4": {"mask": {"threshold": 0.02}}}}
    seen, volumes = [], []
    for value in (slider.input_value(), "300", "600"):
        slider.fill(value)
        seen.append(drawn(page, "figure.tuner canvas"))
        volumes.append(float(told.text_content().split()[2]))
    assert len(set(seen)) == 3
    chosen = yaml.safe_load(line.text_content())
    checked(chosen)
    density = mrc.voxels(golden_project.GOLDEN / "classify/run_it010_class003.mrc")
    assert 0 < chosen["rounds"]["bin4"]["mask"]["threshold"] < density.max()
    assert volumes[1] > volumes[2] > 0


def test_the_line_is_copied(opened: Any) -> None:
    page = opened()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = page.locator("figure.classes")
    figure.locator("button.copy").click()
    page.wait_for_function("document.querySelector('figure.classes .copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == figure.locator(".config-line").text_content()


def test_print_shows_the_still_and_no_buttons(opened: Any) -> None:
    page = opened("screen", "dark")
    surface(page)
    page.emulate_media(media="print")
    style = "one => getComputedStyle(one).visibility"
    assert page.locator("figure.surface canvas").evaluate(style) == "hidden"
    assert page.locator("img.still").evaluate(style) == "visible"
    assert not page.locator("button.copy").first.is_visible()
    paper = page.locator("section").first.evaluate("one => getComputedStyle(one).backgroundColor")
    assert paper == "rgb(255, 255, 255)"


def test_without_webgl_the_still_stays(opened: Any, browser: Any) -> None:
    blind = browser.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-3d-apis"])
    try:
        page = opened(of=blind)
        page.wait_for_timeout(300)
        assert page.locator("figure.surface.live").count() == 0
        assert page.locator("img.still").is_visible()
        assert not page.locator("figure.surface input").is_visible()
    finally:
        page.context.close()
        blind.close()


def checked(line: dict[str, Any]) -> None:
    """A config with the line in it; UserError if it is not allowed."""
    own = {
        "inputs": [{"tomograms": "tomograms.star", "particles": "particles.star"}],
        "particle": {"diameter": 260},
    }
    config.validate(config.for_module(own | line, None))
