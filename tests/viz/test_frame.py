"""What stands around pictures: titles, legends, letters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from everymask.core.labels import Labels
from everymask.viz.frame import draw_beside, draw_legend
from everymask.viz.text import _font_names, readable, tag_size, write_tag

TWO = Labels(("cell", "dust"), ((200, 40, 30), (20, 60, 220)))


def test_beside_scales_the_right_picture_to_the_left_one() -> None:
    left, right = np.full((100, 60, 3), 10, np.uint8), np.full((50, 60, 3), 20, np.uint8)
    page = draw_beside(left, right, ("truth", "a title that is much too long for so small a picture"))
    assert page.shape[1] == 60 + 2 + 120
    np.testing.assert_array_equal(page[-100:, :60], left)
    assert (page[-100:, -120:] == 20).all()


def test_a_legend_has_the_colours_of_its_classes() -> None:
    page = draw_legend(TWO, [1])
    assert (page == TWO.colours[1]).all(-1).sum() == 18 * 18
    assert not (page == TWO.colours[0]).all(-1).any()
    assert len(draw_legend(TWO)) == 2 * len(page)


def test_tags_are_shortened_to_their_room() -> None:
    wide = write_tag("a very long class name indeed", (0, 0, 0), 16, 1000)
    narrow = write_tag("a very long class name indeed", (0, 0, 0), 16, 60)
    assert 0 < narrow.shape[1] <= 60 < wide.shape[1]
    assert write_tag("name", (0, 0, 0), 16, 5).size == 0


@pytest.mark.parametrize("room", [5, 60, 500])
def test_a_tag_has_the_size_that_is_said_before_it_is_written(room: int) -> None:
    for text in ("name", "a very long class name indeed", ""):
        assert write_tag(text, (0, 0, 0), 16, room).shape[:2] == tag_size(text, 16, room)


@pytest.fixture
def dejavu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageFont.FreeTypeFont]:
    """The only font on a machine, under a name that nobody knows."""
    try:
        font = ImageFont.truetype("DejaVuSans.ttf", 16)
    except OSError:
        pytest.skip("DejaVu Sans is not on this machine")
    (tmp_path / "fonts").mkdir()
    file = shutil.copy(str(font.path), tmp_path / "fonts" / "unknown.ttf")
    monkeypatch.setattr("everymask.viz.text._font_folders", lambda: [tmp_path / "fonts"])
    monkeypatch.setattr("everymask.viz.text._WIDER_FONTS", ())
    _font_names.cache_clear()
    readable.cache_clear()
    yield ImageFont.truetype(file, 16)
    _font_names.cache_clear()
    readable.cache_clear()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("клетка", "клетка"),
        ("خلية", "خلية"),
        ("細胞", "??"),
        ("세포", "??"),
        ("कोशिका", "??????"),
        ("ядро 核", "ядро ?"),
    ],
)
def test_letters_are_those_that_a_font_of_the_machine_has(
    name: str, shown: str, dejavu: ImageFont.FreeTypeFont
) -> None:
    """DejaVu Sans has Cyrillic and Arabic letters, and for all others an empty box, which is never drawn."""
    text, font = readable(name, 16)
    assert text == shown
    drawn = {bytes(font.getmask(letter)) for letter in text if not letter.isspace()}
    assert bytes(dejavu.getmask("核")) not in drawn and b"" not in drawn
    assert (Path(str(font.path)).name == "unknown.ttf") == ("?" * len(name) != shown)


@pytest.mark.parametrize("name", ["Größe", "клетка", "細胞", "\udcff\n", "👾"])
def test_any_name_can_be_written(name: str) -> None:
    text, font = readable(name, 16)
    assert text
    assert "\n" not in text
    assert font.getlength(text) > 0
    assert write_tag(name, (255, 255, 255), 16, 500).size
