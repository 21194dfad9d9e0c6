"""What a service counts, as text that Prometheus reads (text exposition format 0.0.4)."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_PICTURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_PAGE = 4096


@dataclass(slots=True)
class Histogram:
    """How many values lie at or below each bound, and their sum."""

    bounds: tuple[float, ...] = _SECONDS
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """One more."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """As Prometheus wants them: each count includes those below."""
        before = f"{labels}," if labels else ""
        seen = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{before}le="{bound}"}} {seen}'
        within = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{within} {self.total:.6f}"
        yield f"{name}_count{within} {seen}"


@dataclass(slots=True)
class Counters:
    """Requests by place and status, refusals by reason, seconds by stage, pictures per calculation."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    pictures: Counter[tuple[str, str]] = field(default_factory=Counter)
    stages: dict[str, Histogram] = field(default_factory=dict)
    batches: Histogram = field(default_factory=lambda: Histogram(_PICTURES))

    def took(self, stage: str, seconds: float) -> None:
        """A stage of a request took so long."""
        self.stages.setdefault(stage, Histogram()).add(seconds)

    def calculated(self, seconds: float, pictures: int) -> None:
        """A calculation of so many pictures took so long."""
        self.took("calculating", seconds)
        self.batches.add(pictures)

    def text(self, gauges: Mapping[str, float], models: Iterable[tuple[str, str]]) -> str:
        """All of it, with what is measured now and the models that are loaded, by name and version."""
        return "".join(f"{line}\n" for line in self._lines(gauges, models))

    def _lines(self, gauges: Mapping[str, float], models: Iterable[tuple[str, str]]) -> Iterator[str]:
        yield "# TYPE everymask_requests_total counter"
        for (path, status), count in sorted(self.requests.items()):
            yield f'everymask_requests_total{{path="{_escaped(path)}",code="{status}"}} {count}'
        yield "# TYPE everymask_refused_total counter"
        for reason, count in sorted(self.refused.items()):
            yield f'everymask_refused_total{{reason="{reason}"}} {count}'
        yield "# TYPE everymask_pictures_total counter"
        for (model, version), count in sorted(self.pictures.items()):
            yield f'everymask_pictures_total{{model="{_escaped(model)}",version="{_escaped(version)}"}} {count}'
        yield "# TYPE everymask_model_info gauge"
        for model, version in models:
            yield f'everymask_model_info{{model="{_escaped(model)}",version="{_escaped(version)}"}} 1'
        yield "# TYPE everymask_stage_seconds histogram"
        for stage, histogram in sorted(self.stages.items()):
            yield from histogram.lines("everymask_stage_seconds", f'stage="{stage}"')
        yield "# TYPE everymask_batch_pictures histogram"
        yield from self.batches.lines("everymask_batch_pictures")
        for name, value in gauges.items():
            yield f"# TYPE {name} gauge"
            yield f"{name} {value:g}"


def resident_bytes() -> int:
    """How much memory this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
