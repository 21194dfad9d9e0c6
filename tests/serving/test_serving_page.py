"""The page in a browser: pictures go in, masks come out, by mouse and by keyboard, on a phone too."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from everymask.core.masks import Masks
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM
from everymask.serving.app import build_app
from everymask.serving.service import Service
from tests.models.prompted.random_sam import predictor_of, scatter
from tests.serving.browser import CHROMIUM, Page, browser
from tests.serving.served import IDS, PICTURE, png, service_with

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@contextmanager
def served(service: Service) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_app(service), log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def address() -> Iterator[str]:
    with served(service_with(keys={"me": "k3y"})) as address:
        yield address


def saved(page: Page, form: str) -> str:
    text: str = page.value(f"(async () => (await savers.{form}())[0])()")
    return text


def test_the_page_from_the_key_to_the_downloads(address: str, tmp_path: Path) -> None:
    good, other, bad = tmp_path / "=p.png", tmp_path / "o.png", tmp_path / "bad.png"
    good.write_bytes(PICTURE)
    other.write_bytes(png(np.zeros((40, 40))))
    bad.write_bytes(b"no picture")
    with browser(tmp_path / "profile") as page:
        page.size(390, 844, phone=True)
        page.call("Page.navigate", url=address)
        page.until("document.readyState == 'complete' && document.querySelector('#status').className == 'bad'")
        assert page.value("byId('key-field').hidden") is False
        page.value("byId('key').value = 'k3y', byId('key').dispatchEvent(new Event('change'))")
        page.until("byId('model').options.length == 1")
        page.upload("#files", [bad])
        page.until("byId('status').textContent.startsWith('bad.png: ')")
        assert page.value("byId('status').className") == "bad"
        page.upload("#files", [other, good])
        page.until("pictures.length == 2")
        assert page.value("byId('objects').children.length") == 3
        assert page.value("document.documentElement.scrollWidth <= innerWidth")

        page.press("n")
        assert page.value("document.activeElement.textContent") == "ground, 18 px"
        page.press("b")
        assert page.value("byId('split').value") == "100"
        page.value("byId('classes').querySelector('input').click()")
        assert page.value("byId('objects').children.length") == 2
        page.press("Escape")
        place = page.value(
            "(r => [r.left + r.width / 2, r.top + r.height / 2])(byId('canvas').getBoundingClientRect())"
        )
        page.value(
            f"byId('canvas').dispatchEvent(new MouseEvent('click', {{clientX: {place[0]}, clientY: {place[1]}}}))"
        )
        assert page.value("byId('caption').textContent") == "road, 36 pixels"

        coco = json.loads(saved(page, "coco"))
        found = Masks.from_rle([entry["segmentation"]["counts"] for entry in coco["annotations"]], (6, 12))
        np.testing.assert_array_equal(found.to_dense(0), IDS == 1)
        shapes = json.loads(saved(page, "labelme"))["shapes"]
        drawn = Masks.from_polygons([[np.array(shape["points"])] for shape in shapes], (6, 12))
        assert drawn.to_rle() == found.to_rle()
        rows = list(csv.DictReader(io.StringIO(saved(page, "csv"))))
        assert [(row["file"], row["class"], row["area"]) for row in rows] == [
            ("'=p.png", "road", "36"),
            ("'=p.png", "sky", "18"),
        ]
        assert page.value("(async () => (await savers.png())[0].size)()") > 100

        unlabelled = "[...document.querySelectorAll('input, select, button, canvas')].filter(e => !(e.labels?.length"
        unlabelled += " || e.textContent.trim() || e.getAttribute('aria-label'))).length"
        assert page.value(unlabelled) == 0
        assert not [event for event in page.events if event["method"] == "Runtime.exceptionThrown"]
        asked = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
        assert asked and all(url.startswith((address, "data:", "blob:")) for url in asked)


def test_objects_are_pointed_at_by_clicks_boxes_and_keys(tmp_path: Path) -> None:
    network = PromptedNetwork(SAM(encoder="vit_t", side=64)).eval()
    scatter(network)
    service = service_with(("sam", predictor_of(network)))
    file = tmp_path / "p.png"
    file.write_bytes(png(np.random.default_rng(0).integers(0, 256, (40, 60, 3))))
    asking, done = "pictures[0].asking", "!pictures[0].asking && pictures[0].marks.length"

    def mouse(page: Page, kind: str, x: float, y: float, shift: int = 0) -> None:
        left, top, width = page.value("(r => [r.left, r.top, r.width])(byId('canvas').getBoundingClientRect())")
        place = {"x": left + x * width / 60, "y": top + y * width / 60}
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, modifiers=8 * shift, **place)

    def click(page: Page, x: float, y: float, shift: int = 0) -> None:
        mouse(page, "mousePressed", x, y, shift)
        mouse(page, "mouseReleased", x, y, shift)

    with served(service) as address, browser(tmp_path / "profile") as page:
        page.size(1000, 800)
        page.call("Page.navigate", url=address)
        page.until("document.readyState == 'complete' && byId('model').options.length == 1")
        page.upload("#files", [file])
        page.until("pictures.length == 1 && !byId('prompting').hidden")
        page.value("byId('canvas').scrollIntoView()")
        click(page, 20, 20)
        page.until(f"{done} == 1")
        first = page.value("pictures[0].current[0].mask.counts")
        click(page, 40, 10, shift=1)
        page.until(f"{done} == 2")
        assert page.value("pictures[0].marks[1].labels[0]") == 0
        page.value("byId('undo').click()")
        page.until(f"{done} == 1")
        assert page.value("pictures[0].current[0].mask.counts") == first
        page.press("k")
        page.until("pictures[0].kept.length == 1 && !pictures[0].asking")
        mouse(page, "mousePressed", 5, 5)
        mouse(page, "mouseMoved", 30, 25)
        mouse(page, "mouseReleased", 30, 25)
        page.until(f"{done} == 1 && pictures[0].marks[0].boxes")
        assert page.value("pictures[0].objects.length") == 2
        page.screenshot(tmp_path / "prompted.png")
        page.value("byId('canvas').focus()")
        page.press("k")
        page.until("pictures[0].kept.length == 2 && !pictures[0].asking")
        page.press("ArrowRight")
        page.press("Enter")
        page.until(f"{done} == 1")
        assert page.value("pictures[0].marks[0].points[0]") == [31.2, 20]
        rows = list(csv.DictReader(io.StringIO(saved(page, "csv"))))
        assert len(rows) == 3 and {row["class"] for row in rows} == {"object"}
        assert not page.value(asking)
        assert not [event for event in page.events if event["method"] == "Runtime.exceptionThrown"]
