"""Every kind of bad annotation in the catalogue (B masks, C COCO, D other formats) has a test that carries its id."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
COUNTS = {"B": 14, "C": 28, "D": 22}
ELSEWHERE = {}


def test_every_id_has_a_test():
    texts = "\n".join(file.read_text("utf-8") for file in TESTS.rglob("test_*.py") if file != Path(__file__).resolve())
    # As `id="C19 rle size"`, `("C19 rle size", ...`, or `def test_c19_...`.
    found = {name.upper() for name in re.findall(r'(?:"|def test_)([BCDbcd]\d\d)[ _.:]', texts)}
    wanted = {f"{letter}{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)}
    assert wanted - found - set(ELSEWHERE) == set()
    assert not found & set(ELSEWHERE)
