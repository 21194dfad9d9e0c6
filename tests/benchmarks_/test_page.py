"""The sections of docs/benchmarks.md: each comparison writes its own and leaves the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import COMPARISONS
from benchmarks.compare import Bar, Comparison, Memory
from benchmarks.page import PAGE, Section, bytes_text, seconds_text, text_of, with_section, write_section

HEAD = "# Benchmarks\n\nWhat stands here.\n"
SECTION = Section(
    title="Masks",
    setting="Both start from logits.",
    packages=("pillow",),
    threads="one",
    times=(Comparison("100 masks", "a peer", (0.002, 0.002), (0.05, 0.07), "no bit differs", count=100),),
    memory=(Memory("100 masks", "a peer", 3_000_000, 60_000_000),),
    bars=(Bar("100 masks", 30.0, 15), Bar("memory", 0.9, 0.8, at_most=True), Bar("wait", 0.25, 0.5, "s", at_most=True)),
    notes=("Nothing was left out.",),
)


def test_a_new_section_goes_to_the_end() -> None:
    page = with_section(with_section(HEAD, "a", "first"), "b", "second")
    assert page == (f"{HEAD}\n<!-- begin a -->\nfirst\n<!-- end a -->\n\n<!-- begin b -->\nsecond\n<!-- end b -->\n")


def test_a_section_is_replaced_in_its_place_and_all_else_stays() -> None:
    page = with_section(with_section(HEAD, "a", "first"), "b", "second") + "\nWritten by hand.\n"
    changed = with_section(page, "a", "measured\nagain\n")
    assert changed == page.replace("first", "measured\nagain")
    assert with_section(changed, "a", "first") == page


def test_one_name_may_begin_another() -> None:
    page = with_section(with_section(HEAD, "data-pipeline", "long"), "data", "short")
    assert with_section(page, "data", "other") == page.replace("short", "other")


@pytest.mark.parametrize(
    "page",
    [
        "<!-- begin a -->\n",
        "<!-- end a -->\n",
        "<!-- end a -->\n<!-- begin a -->\n",
        2 * "<!-- begin a -->\n<!-- end a -->\n",
    ],
)
def test_markers_that_do_not_pair_are_not_guessed_at(page: str) -> None:
    with pytest.raises(ValueError, match="begin a"):
        with_section(page, "a", "text")


def test_the_page_keeps_the_sections_of_others(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(with_section(HEAD, "other", "µ stays"), "utf-8")
    write_section("masks", SECTION, page)
    text = page.read_text("utf-8")
    assert text.startswith(with_section(HEAD, "other", "µ stays"))
    assert text_of("masks", SECTION) in text


def test_a_section_says_what_was_measured_and_how() -> None:
    lines = text_of("masks", SECTION).splitlines()
    assert lines[0] == "## Masks"
    assert "python -m benchmarks masks" in lines
    # Medians 2 ms and 60 ms; the rounds' ratios are 25 and 35.
    assert (
        "| 100 masks | 2.00 ms, 50,000 per s | 60.0 ms, 1,667 per s (a peer) | **30.00×** (27.50 to 32.50) |" in lines
    )
    assert "| 100 masks | 3.0 MB | 60 MB (a peer) | **0.05** |" in lines
    assert "| 100 masks | ≥ 15× | 30× | reached |" in lines
    assert "| memory | ≤ 0.8× | 0.9× | **not reached** |" in lines
    assert "| wait | ≤ 0.5 s | 0.25 s | reached |" in lines
    assert "- Same answer, 100 masks: no bit differs." in lines
    assert "- Nothing was left out." in lines
    assert any(line.startswith("- Versions: Python 3.") and "pillow " in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (1.0, "1.00 s"), (0.9994, "999 ms"), (0.01234, "12.3 ms"), (4.2e-6, "4.20 µs")],
)
def test_seconds_have_three_digits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_bytes_are_megabytes() -> None:
    assert (bytes_text(1_500_000), bytes_text(14_000_000_000)) == ("1.5 MB", "14,000 MB")


def test_the_page_has_no_section_without_a_comparison() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    assert {line.split()[2] for line in lines if line.startswith("<!-- begin ")} <= COMPARISONS.keys()
