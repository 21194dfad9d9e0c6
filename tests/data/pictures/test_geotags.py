"""A map of a GeoTIFF's pixels lies where the GeoTIFF does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.data.pictures.geotags import CODES, read_geotags
from everymask.data.pictures.read import read_image, write_image
from everymask.results.writing_semantic import SemanticFolder

SCALE = (33550, 12, 3, (0.5, 0.5, 0.0), True)
TIEPOINT = (33922, 12, 6, (0.0, 0.0, 0.0, 512345.5, 4821000.25, 0.0), True)
TURNED = (34264, 12, 16, (0.4, 0.3, 0.0, 7.0, 0.3, -0.4, 0.0, 9.0, *[0.0] * 7, 1.0), True)
KEYS = (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32617), True)
NUMBERS = (34736, 12, 1, (6378137.0,), True)
NAME = (34737, 2, 22, "WGS 84 / UTM zone 17N|", True)
LABELS = labels_of(["ground", "roof"])


def geotiff(file: Path, tags: list[tuple[Any, ...]], **options: Any) -> Path:
    pixels = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)
    tifffile.imwrite(file, pixels, photometric="rgb", extratags=tags, metadata=None, **options)
    return file


def written(out: Path, file: Path, kind: Any = "tif") -> Path:
    image = read_image(file)
    ids = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]) % 2
    with SemanticFolder(out, LABELS, maps=kind) as folder:
        folder.add(Sample(image, id="a", file=str(file)), SemanticMap(ids.astype(np.uint8)))
    return next((out / "maps").iterdir())


@pytest.mark.parametrize(("order", "big"), [("<", False), ("<", True), (">", False)])
@pytest.mark.parametrize(
    "tags", [[SCALE, TIEPOINT, KEYS, NUMBERS, NAME], [TURNED, KEYS], []], ids=["scale", "transformation", "none"]
)
def test_the_map_has_the_tags_of_the_picture(tags: list[Any], order: Any, big: bool, tmp_path: Path) -> None:
    nodata = (42113, 2, 4, "255", True)
    file = geotiff(tmp_path / "a.tif", [*tags, nodata], byteorder=order, bigtiff=big)
    assert {tag.code: tag.value for tag in read_geotags(file)} == {tag[0]: tag[3] for tag in tags}
    with tifffile.TiffFile(written(tmp_path / "out", file)) as tiff:
        found = tiff.pages.first.tags
        values = {code: np.atleast_1d(found[code].value).tolist() for code in CODES if code in found}
        assert 42113 not in found, "what stands for nothing in the picture is a class of the map"
        assert tiff.asarray().tolist() == (np.arange(120).reshape(12, 10) % 2).tolist()
    assert values == {tag[0]: np.atleast_1d(tag[3]).tolist() for tag in tags}


def test_a_picture_that_is_turned_loses_them_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = geotiff(tmp_path / "a.tif", [SCALE, TIEPOINT, KEYS, (274, 3, 1, 6, True)])
    assert read_geotags(file) == ()
    assert "the picture is turned" in caplog.text


def test_other_files_have_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    assert read_geotags(tmp_path / "a.png") == ()
    assert caplog.text == ""
    (tmp_path / "b.tif").write_bytes(b"II*\0" + b"\xff" * 20)
    assert read_geotags(tmp_path / "b.tif") == ()
    assert "cannot be read" in caplog.text
    assert written(tmp_path / "out", tmp_path / "a.png").suffix == ".tif"
