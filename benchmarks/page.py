"""docs/benchmarks.md: one section for each comparison, each written by the command that it names."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.compare import Bar, Comparison, Memory
from everymask.core.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Unavailable(Exception):
    """What a comparison needs and this machine lacks, in one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one comparison found. `setting` says what both sides start from and end with, `notes` what else to know.

    `packages` are the distributions whose versions matter, everymask and numpy apart; `threads` is how many threads
    each side may use, in words.
    """

    title: str
    setting: str
    packages: tuple[str, ...]
    threads: str
    times: tuple[Comparison, ...] = ()
    memory: tuple[Memory, ...] = ()
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()


def write_section(name: str, section: Section, page: Path = PAGE) -> None:
    """Put a comparison's section into the page in place of its last one; all other text stays as it is."""
    write_text(page, with_section(page.read_text("utf-8"), name, text_of(name, section)))


def with_section(page: str, name: str, text: str) -> str:
    """The page with `text` between the markers of `name`; a new section goes to the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    if begin not in page and end not in page:
        return f"{page.rstrip()}\n\n{block}\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"the page must have {begin} and {end} once each and in this order: mend it by hand")
    before, _, rest = page.partition(begin)
    return before + block + rest.partition(end)[2]


def text_of(name: str, section: Section) -> str:
    """A section in Markdown."""
    blocks = [f"## {section.title}", section.setting, f"```\npython -m benchmarks {name}\n```"]
    if section.times:
        header = ("", "everymask", "peer", "peer / everymask (quartiles)")
        blocks.append(_table(header, [_time_row(row) for row in section.times]))
    if section.memory:
        header = ("peak extra memory", "everymask", "peer", "everymask / peer")
        blocks.append(_table(header, [_memory_row(row) for row in section.memory]))
    if section.bars:
        blocks.append(_table(("bar", "asked for", "measured", ""), [_bar_row(bar) for bar in section.bars]))
    rounds = sorted({len(row.ours) for row in section.times})
    points = [f"Same answer, {row.what}: {row.agreement}." for row in section.times if row.agreement]
    points += section.notes
    points += [f"Rounds: {', '.join(map(str, rounds))}, in turn, after warm-up."] if rounds else []
    points.append(f"Machine: {machine()}. Threads: {section.threads}.")
    points.append(f"Versions: {versions(section.packages)}.")
    return "\n\n".join([*blocks, "\n".join(f"- {point}" for point in points)])


def machine() -> str:
    """The CPU, its cores and the vector instructions that matter here."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = about.get("flags", "").split()
    has, lacks = [f for f in _FLAGS if f in known], [f for f in _FLAGS if f not in known]
    flags = ", ".join(has) + (f"; without {', '.join(lacks)}" if lacks else "")
    model = about.get("model name", platform.processor() or platform.machine())
    return f"{model}, {os.cpu_count()} cores ({flags}), {platform.system()}"


def versions(packages: Iterable[str]) -> str:
    """`Python 3.11.2, everymask 0.1.0, ...`."""
    names = ("everymask", "numpy", *packages)
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])


def _time_row(row: Comparison) -> tuple[str, ...]:
    ours, theirs = row.medians
    low, high = row.quartiles
    return (
        row.what,
        f"{seconds_text(ours)}{_rate(row.count, ours)}",
        f"{seconds_text(theirs)}{_rate(row.count, theirs)} ({row.peer})",
        f"**{row.ratio:.2f}×** ({low:.2f} to {high:.2f})",
    )


def _memory_row(row: Memory) -> tuple[str, ...]:
    ratio = f"**{row.ratio:.2f}**" if row.ratio >= 0.01 else "**below 0.01**"
    return row.what, bytes_text(row.ours), f"{bytes_text(row.theirs)} ({row.peer})", ratio


def _bar_row(bar: Bar) -> tuple[str, ...]:
    unit = bar.unit if bar.unit == "×" else f" {bar.unit}"
    return (
        bar.what,
        f"{'≤' if bar.at_most else '≥'} {bar.limit:g}{unit}",
        f"{bar.measured:.3g}{unit}",
        "reached" if bar.reached else "**not reached**",
    )


def seconds_text(seconds: float) -> str:
    """Three digits in the unit that fits: `1.23 s`, `45.6 ms`, `7.89 µs`."""
    scale, unit = next(((scale, unit) for scale, unit in ((1.0, "s"), (1e-3, "ms")) if seconds >= scale), (1e-6, "µs"))
    value = seconds / scale
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def bytes_text(count: int) -> str:
    """Megabytes of 10^6 bytes."""
    return f"{count / 1e6:,.{0 if count >= 10e6 else 1}f} MB"


def _rate(count: int, seconds: float) -> str:
    return f", {count / seconds:,.{0 if count >= 10 * seconds else 1}f} per s" if count > 1 else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
