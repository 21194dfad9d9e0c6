"""Batches depend on the seed and on nothing else."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from collections import Counter

import pytest
import torch

from everymask.core.processes.rank import Rank
from everymask.data.feed.pipelines import Prepared
from everymask.errors import ConfigError, DataError, Issue, MachineError
from everymask.models.base import Batch
from everymask.train.loader import Order, read_batches
from everymask.train.machine.failures import machine_failures
from everymask.train.machine.interrupt import ignore_in_worker
from tests.train.tiny_training import picture


def batches(workers: int, first: int = 0, order: Order | None = None) -> list[Batch]:
    order = order or Order(7, 2, passes=1, seed=3)
    return list(read_batches(picture, order, first=first, last=8, workers=workers, divisor=8))


def test_every_epoch_is_a_permutation() -> None:
    order = Order(10, 2, seed=1)
    epochs = [[index for step in range(5 * e, 5 * e + 5) for _, index in order.pictures(step)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert {e for e, _ in order.pictures(7)} == {1}


def test_pictures_that_fill_no_step_wait_for_another_epoch() -> None:
    order = Order(11, 2, passes=2, seed=1)
    assert order.steps_per_epoch == 2
    seen = Counter(i for step in range(200) for index in range(2) for _, i in order.pictures(step, index))
    assert set(seen) == set(range(11))


def test_the_order_belongs_to_the_seed() -> None:
    assert Order(50, 5, seed=1).pictures(3) == Order(50, 5, seed=1).pictures(3)
    assert Order(50, 5, seed=1).pictures(3) != Order(50, 5, seed=2).pictures(3)


def test_more_pictures_per_step_than_there_are() -> None:
    """F15: training would have no step."""
    with pytest.raises(ConfigError, match=r"7 training pictures .* 8\n.*accumulate"):
        Order(7, 4, passes=2)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_every_batch(count: int) -> None:
    alone = Order(27, 4, passes=2, seed=1)
    shares = [Order(27, 4, passes=2, seed=1, rank=Rank(index, count)) for index in range(count)]
    assert alone.steps_per_epoch == 3
    for step, index in itertools.product(range(6), range(2)):
        parts = [order.pictures(step, index) for order in shares]
        assert {len(part) for part in parts} == {4 // count}
        assert list(itertools.chain(*parts)) == alone.pictures(step, index)


def test_processes_see_the_same_pictures_whatever_prepares_them() -> None:
    alone = Counter(name for batch in batches(0, order=Order(10, 4, seed=3)) for name in batch.ids)
    for workers in (0, 2):
        shares = [batches(workers, order=Order(10, 4, seed=3, rank=Rank(index, 2))) for index in range(2)]
        assert sum((Counter(batch.ids) for share in shares for batch in share), Counter()) == alone
        assert all(len(batch.ids) == 2 for share in shares for batch in share)


def test_processes_draw_each_for_itself() -> None:
    keys = itertools.product(range(4), range(3), range(2))
    draws = [Order(24, 8, passes=2, rank=Rank(index, 4)).draw(step, pass_) for index, step, pass_ in keys]
    assert len(set(draws)) == 4 * 3 * 2
    assert Order(24, 8, passes=2).draw(2, 1) == Order(24, 8, passes=2, rank=Rank(0, 4)).draw(2, 1)


def test_a_batch_without_equal_shares_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"6 pictures has no equal shares for 4 processes\n.*multiple of 4"):
        Order(50, 6, rank=Rank(0, 4))
    with pytest.raises(ConfigError, match="from 0 to below 2, but got 2"):
        Rank(2, 2)


def test_batches_do_not_depend_on_the_number_of_workers() -> None:
    alone = batches(0)
    assert len(alone) == 8
    for workers in (1, 2):
        for ours, theirs in zip(alone, batches(workers), strict=True):
            assert ours.ids == theirs.ids
            assert torch.equal(ours.images, theirs.images)


def test_batches_can_begin_anywhere() -> None:
    for ours, theirs in zip(batches(0)[5:], batches(1, first=5), strict=True):
        assert ours.ids == theirs.ids
        assert torch.equal(ours.images, theirs.images)


def broken(epoch: int, index: int) -> Prepared:
    if index == 4:
        raise DataError(
            "bad.png: cannot be read", hint="mend it", issues=[Issue("image", "cut off", "bad.png")], total=1
        )
    return picture(epoch, index)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_reaches_the_user_whole(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        list(read_batches(broken, Order(7, 2), first=0, last=8, workers=workers, divisor=8))
    assert caught.value.message == "bad.png: cannot be read"
    assert caught.value.hint == "mend it"
    assert [issue.code for issue in caught.value.issues] == ["image"]


def deadly(epoch: int, index: int, *, parent: int) -> Prepared:
    if index == 4 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return picture(epoch, index)


def test_a_killed_worker_is_an_error_of_the_machine() -> None:
    """Fault F6."""
    pipeline = functools.partial(deadly, parent=os.getpid())
    with pytest.raises(MachineError, match=r"died(.|\n)*lower workers"):
        list(read_batches(pipeline, Order(7, 2), first=0, last=8, workers=1, divisor=8))


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"), id="F14 GPU"),
        pytest.param(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), id="F13 torch"),
        pytest.param(MemoryError(), id="F13 numpy"),
    ],
)
def test_full_memory_is_an_error_of_the_machine(error: Exception) -> None:
    with pytest.raises(MachineError, match=r"memory is full(.|\n)*lower batch"), machine_failures():
        raise error


def hanging(epoch: int, index: int, *, parent: int) -> Prepared:
    if index == 4 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGSTOP)
    return picture(epoch, index)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no stopped processes")
def test_a_worker_that_hangs_is_an_error_with_its_pictures() -> None:
    """Fault F6: without a limit training would wait without end."""
    pipeline = functools.partial(hanging, parent=os.getpid())
    files = [f"{index}.png" for index in range(7)]
    with pytest.raises(MachineError, match=r"not answered for 3 s; it was to prepare .*4\.png"):
        list(read_batches(pipeline, Order(7, 2), first=0, last=8, workers=1, divisor=8, files=files, patience=3))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_a_worker_leaves_the_first_termination_to_its_parent() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ignore_in_worker()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the next one ends it"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
