"""Several processes evaluate to the numbers of one, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from everymask.api import load
from everymask.core.processes.rank import Rank
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError, FellowError
from everymask.evaluate import Report, evaluate
from everymask.infer.result import Result
from tests.core.processes.threads import in_threads
from tests.quick import quick


def numbers(report: object) -> dict[str, Any]:
    """All that a report says but for the clock."""
    assert isinstance(report, Report), report
    return {name: value for name, value in report.to_json().items() if name != "seconds_per_picture"}


@pytest.mark.parametrize("count", quick([2, 3, 7], [7]), ids="{} processes".format)
def test_shares_are_judged_as_the_whole(count: int, tiny: Any, shapes: Any) -> None:
    """Of 5 pictures: with 7 processes two have nothing to do, and no picture counts twice."""
    model, dataset = load(tiny), read_dataset(shapes)
    whole = evaluate(model, dataset)
    found = in_threads(count, lambda rank: evaluate(model, dataset, rank=rank))
    assert all(numbers(report) == numbers(whole) for report in found)
    assert all(report.pictures == len(dataset) == 5 for report in found)  # type: ignore[union-attr]
    for report in found:
        np.testing.assert_array_equal(report.scores.resampled(20, 0), whole.scores.resampled(20, 0))  # type: ignore[union-attr]


@dataclass(frozen=True)
class Breaks:
    """A model that fails at one picture."""

    model: Any
    bad: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        for result in self.model.answers(dataset, batch):
            if result.sample.id == self.bad:
                raise DataError(f"{self.bad}: cut off")
            yield result


def test_a_picture_that_fails_in_one_process_ends_all(tiny: Any, shapes: Any) -> None:
    dataset = read_dataset(shapes)
    model = Breaks(load(tiny), dataset.records[1].id)

    def work(rank: Rank) -> Report:
        return evaluate(model, dataset, rank=rank)  # type: ignore[arg-type]

    first, second = in_threads(2, work)
    assert isinstance(first, FellowError)
    assert isinstance(second, DataError)
    assert "cut off" in str(second)
