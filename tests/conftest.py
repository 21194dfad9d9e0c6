"""Fixtures for the whole suite."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from everymask.core.threads import ASLEEP
from everymask.data.shapes import write_shapes
from everymask.models.specs.regions import MaskRCNN

# Where nothing compiled is kept, every worker and every process that a test starts compiles all code anew: ten seconds
# for the tests alone. The workers take this over.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As the commands do on a busy machine: tests that ask for several threads share the cores too.
os.environ.update(ASLEEP)

# Workers of pytest-xdist share the cores; libraries read this when they are first imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test touches the network, or meets what lies in the cache of whoever runs it.
os.environ["EVERYMASK_OFFLINE"] = "1"
CACHE = tempfile.TemporaryDirectory(prefix="everymask-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# Each worker takes whole files: the longest come first, so that none is left alone with one at the end.
LONGEST = (
    "test_ranks.py", "test_damaged_formats.py", "test_export_contract.py", "test_torchvision_parity.py",
    "test_devices.py", "test_identity.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In their order, but for the longest files."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish() -> None:
    """Ten thousand tests and the libraries they import stay to the end: the collector need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return DATA


@pytest.fixture(scope="session")
def classification() -> ModuleType:
    """torchmetrics' functions, which take seconds to import: where they are asked for, and not in every worker."""
    from torchmetrics.functional import classification

    return classification


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=3, val=2, size=64)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a small model that knows the shapes' classes and has learned nothing."""
    import torch

    from everymask.core.labels import labels_of
    from everymask.data.feed.preprocess import Preprocess, Resize
    from everymask.models.build import build
    from everymask.models.card import Card
    from everymask.models.checkpoint import save_model

    spec = MaskRCNN(
        encoder="mobilenetv3_small_100", fpn_channels=16, box_fcs=(16,), mask_convs=(16,), score_threshold=0
    )
    labels = labels_of(["square", "circle", "triangle"])
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(spec, len(labels))
    save_model(folder / "best.safetensors", module, Card(spec, labels, Preprocess(resize=Resize(short=64, long=64))))
    return folder


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """PyTorch with one thread and with two: its kernels then add up in another order, or are others."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)
