"""The report: one well-formed file that loads nothing, runs nothing and leaves out what it does not have."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.errors import Issue
from everymask.metrics.scores import ClassRow, ClassTable, Confusion, Headline, PrecisionRecall
from everymask.viz.report import Panel, ReportContent, StepRow, ValidationRow, typical_and_worst, write_report

EVIL = '<script>alert("1")</script>\udcff\n.png'
VOID = {"meta", "img", "br", "circle", "path"}


class Page(HTMLParser):
    """Checks that tags are closed in order and collects what a page refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def headings(self) -> list[str]:
        text = "\0".join(self.words)
        return [word for word in SECTIONS if word in text]


SECTIONS = [
    "Result", "Typical pictures", "Worst pictures", "Training", "Precision and recall", "Classes",
    "Confusion between classes", "Data set", "Warnings (2)", "Settings", "Versions",
]  # fmt: skip


def full(name: str = "cell", classes: int = 3) -> ReportContent:
    names = tuple(f"{name} {k}" for k in range(classes))
    recall = np.linspace(0, 1, 101)
    precision = np.tile(1 - recall, (classes, 1))
    precision[-1] = -1
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    panel = Panel(name, f"F1 0.4: {name}", picture, picture)
    return ReportContent(
        title=name,
        when=name,
        headlines=(Headline("mask AP", 0.5123, name), Headline("time", "41 min")),
        steps=[StepRow(k, {"loss": 1 / (k + 1), name: 0.1}, epoch=k / 9, lr=0.1, images_per_s=5.0) for k in range(900)],
        validations=[ValidationRow(k, {"mask AP": 0.1 * k, name: float("nan")}) for k in range(5)],
        precision_recall=(PrecisionRecall(0.5, recall, precision, names),),
        confusion=Confusion((*names, "nothing"), np.arange((classes + 1) ** 2).reshape(classes + 1, -1)),
        classes=ClassTable((name, "AP50"), name, tuple(ClassRow(c, (0.25, float("nan")), 7, (1, 2, 3)) for c in names)),
        typical=(panel,),
        worst=(panel, panel),
        dataset={name: 3, "objects per class": dict.fromkeys(names, 5), "splits": {"train": {"pictures": 4}}},
        issues=(Issue("mask-empty", name, name, name, name, name), name),
        settings={"model": {"name": name, "sizes": (1, 2)}, name: None, "ema": True},
        versions={name: name},
    )


def written(path: Path, content: ReportContent) -> str:
    write_report(path / "report.html", content)
    return (path / "report.html").read_text("utf-8")


def test_a_full_report_has_every_section(tmp_path: Path) -> None:
    page = Page(written(tmp_path, full()))
    assert page.headings == SECTIONS
    assert page.tags.count("img") == 6
    assert page.tags.count("h2") == len(SECTIONS)


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    text = written(tmp_path, full())
    page = Page(text)
    assert all(link.startswith(("data:image/jpeg;base64,", "#s")) for link in page.references)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not page.handlers
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_links_lead_to_sections(tmp_path: Path) -> None:
    text = written(tmp_path, full())
    for link in Page(text).references:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_names_cannot_become_markup(tmp_path: Path, classes: int) -> None:
    """A33 and G29: every text field at once."""
    text = written(tmp_path, full(EVIL, classes))
    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.tags
    shown = sum('<script>alert("1")</script>' in word for word in page.words)
    assert shown > 12


def test_it_is_made_for_phones_and_for_the_dark(tmp_path: Path) -> None:
    text = written(tmp_path, full())
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("missing", [field.name for field in fields(ReportContent)[1:]])
def test_what_is_missing_is_left_out(tmp_path: Path, missing: str) -> None:
    empty = getattr(ReportContent("x"), missing)
    page = Page(written(tmp_path, replace(full(), **{missing: empty})))
    assert len(page.headings) >= len(SECTIONS) - 1


def test_a_run_stopped_in_its_first_epoch_has_a_report(tmp_path: Path) -> None:
    content = ReportContent("stopped", steps=[StepRow(1, {"loss": 2.5})], settings={"epochs": 20})
    assert Page(written(tmp_path, content)).headings == ["Training", "Settings"]


def test_nothing_at_all_is_still_a_page(tmp_path: Path) -> None:
    assert Page(written(tmp_path, ReportContent("empty"))).headings == []


def test_pictures_are_scaled_down_and_bounded(tmp_path: Path) -> None:
    large = np.zeros((1500, 2000, 3), np.uint8)
    panel = Panel("large", "", large, large)
    text = written(tmp_path, ReportContent("x", typical=(panel,) * 20, worst=(panel,) * 20))
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    assert len(pictures) == 24
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (480, 360)


def test_typical_pictures_are_of_all_kinds_and_none_is_shown_twice() -> None:
    assert typical_and_worst(range(126)) == ([116, 96, 76, 56, 36, 16], [0, 1, 2, 3, 4, 5])
    assert typical_and_worst(range(12)) == ([11, 10, 9, 8, 7, 6], [0, 1, 2, 3, 4, 5])
    assert typical_and_worst(range(5)) == ([4, 2], [0, 1])
    assert typical_and_worst([7]) == ([], [])


def test_a_long_run_makes_a_small_file(tmp_path: Path) -> None:
    steps = [StepRow(k, {"loss": 1.0, "box": 0.5}, lr=0.1, images_per_s=9.0) for k in range(50_000)]
    issues = [Issue("odd", f"number {k}") for k in range(5_000)]
    rows = tuple(ClassRow(f"class {k}", (0.5, 0.5), k) for k in range(1_000))
    classes = ClassTable(("AP", "AP50"), "objects", rows)
    text = written(tmp_path, ReportContent("long", steps=steps, issues=issues, classes=classes))
    assert len(text) < 500_000
    assert "50 of 5000" in text


def test_one_class_has_one_chart_with_a_curve_per_threshold(tmp_path: Path) -> None:
    recall = np.linspace(0, 1, 11)
    curves = tuple(PrecisionRecall(iou, recall, (1 - recall)[None], ("cell",)) for iou in (0.5, 0.75))
    text = written(tmp_path, ReportContent("x", precision_recall=curves))
    assert text.count('role="img"') == 1
    assert "IoU 0.50" in text
    assert "IoU 0.75" in text


def test_many_classes_list_their_mistakes_instead_of_a_table(tmp_path: Path) -> None:
    counts = np.zeros((40, 40), int)
    counts[3, 7], counts[5, 5] = 9, 100
    text = written(tmp_path, ReportContent("x", confusion=Confusion(tuple(f"c{k}" for k in range(40)), counts)))
    assert "<table" not in text
    assert "c3 → c7" in text
    assert "c5 → c5" not in text


def test_both_dates_lie_on_each_other_and_nothing_runs(tmp_path: Path) -> None:
    early, late = (np.full((60, 90, 3), grey, np.uint8) for grey in (20, 220))
    content = full()
    panel = replace(content.typical[0], title=EVIL, dates=(early, late))
    write_report(tmp_path / "r.html", replace(content, typical=(panel,), worst=()))
    text = (tmp_path / "r.html").read_text("utf-8")
    page = Page(text)
    assert text.count('<div class="slide">') == 1 and not page.handlers and "script" not in page.tags
    (slide,) = re.findall(r'<div class="slide">(.*?)</div></div>', text)
    greys = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found)))).mean()
        for found in re.findall(r"base64,([^\"]+)", slide)
    ]
    assert greys == pytest.approx([220, 20], abs=2)  # the later one lies below
