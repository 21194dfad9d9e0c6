"""Prediction in shards while workers and drivers are killed, beside the same undisturbed.

    python -m benchmarks.engines --engine local --pictures 20000

Small pictures are predicted by `everymask predict --engine`. Then again, while every `--every` seconds one of its
workers gets SIGKILL, and at equal shares of the work its driver too, `--drivers` times; each time the same command goes
on with --resume. Every picture must be in the tables exactly once, with the same objects, and the time be at most
1 / 0.9 of the undisturbed, starts of drivers included.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.pictures.read import write_image
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.specs.semantic import UNet
from everymask.results.shards.pictures import FoundPicture
from everymask.results.shards.plan import read_plan
from everymask.results.shards.store import open_store
from everymask.results.shards.tables import table_of
from everymask.results.shards.work import finished

BAR = 0.9
SIDE = 64


@dataclass(slots=True)
class Outcome:
    """How long a prediction took, how much of that drivers took to start, until the first pictures came, and how many
    workers and drivers were killed meanwhile."""

    seconds: float
    starting: float
    workers: int = 0
    drivers: int = 0


def make_model(folder: Path) -> Path:
    """A U-Net with random weights."""
    torch.manual_seed(0)
    spec, labels = UNet(encoder="resnet18"), labels_of(["background", "cell"])
    file = folder / "model.safetensors"
    save_model(file, build(spec, len(labels)), Card(spec, labels, Preprocess(resize=Resize(SIDE, SIDE))))
    return file


def make_pictures(folder: Path, count: int) -> Path:
    """Pictures that all differ, a thousand in a folder, and one that cannot be read."""
    for place in range(count):
        pixels = rng(place, "engines").integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
        write_image(folder / f"{place // 1000:03}" / f"{place:07}.png", pixels.repeat(8, 0).repeat(8, 1))
    (folder / "000" / "0000000.png").write_bytes(b"no picture")
    return folder


class Run:
    """`everymask predict` into `out`, in a process of its own."""

    def __init__(self, out: Path, words: list[str]) -> None:
        self.out, self._words = out, words
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        words = ["predict", *self._words, "--out", str(self.out), "--resume", "--json"]
        with (self.out.parent / f"{self.out.name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "everymask", *words], stdout=log, stderr=log)

    def done(self) -> int:
        """How many pictures are written, about: in finished shards, and in blocks of others."""
        store = open_store(str(self.out))
        plan = read_plan(store)
        if plan is None:
            return 0
        parts = [name for shard in store.names("parts") for name in store.names(f"parts/{shard}")]
        blocks = sum(name.endswith(".json") and "-" not in name for name in parts)
        return min(plan.pictures, len(finished(store)) * plan.shard_size + 50 * blocks)

    def workers(self) -> list[psutil.Process]:
        """Processes that predict."""
        found = psutil.Process().children(recursive=True)
        return [process for process in found if _is_worker(process)]

    def kill_driver(self) -> None:
        """And start it again."""
        self.process.kill()
        self.process.wait()
        self.process = self._started()


def _is_worker(process: psutil.Process) -> bool:
    try:
        words, parent = process.cmdline(), process.parent()
        if words and words[0].startswith("ray::Map"):
            return True
        beside = parent.cmdline() if parent else []
    except psutil.Error:
        return False
    return any("multiprocessing.forkserver" in word for word in beside) and "multiprocessing.forkserver" in str(words)


def predict(out: Path, words: list[str], pictures: int, every: float, drivers: int) -> Outcome:
    """Predict, and meanwhile kill a worker each `every` seconds, unless nothing was done since the last, and as many
    drivers; 0 kills none."""
    begun = killed_at = started_at = time.monotonic()
    run, workers, drivers_killed, draw = Run(out, words), 0, 0, rng(0, "kill")
    starting, before = 0.0, 0
    while run.process.poll() is None:
        time.sleep(0.1)
        now, done = time.monotonic(), run.done()
        if started_at and done > before:
            starting, started_at = starting + now - started_at, 0.0
        if drivers_killed < drivers and done >= pictures * (drivers_killed + 1) // (drivers + 1):
            run.kill_driver()
            drivers_killed, started_at, before, killed_at = drivers_killed + 1, now, max(done, before), now
        elif every and now - killed_at >= every and done > before and (alive := run.workers()):
            victim = alive[int(draw.integers(len(alive)))]
            os.kill(victim.pid, signal.SIGKILL)
            workers, killed_at, before = workers + 1, now, done
    if run.process.returncode not in (0, 3):
        raise SystemExit((out.parent / f"{out.name}.log").read_text("utf-8", "replace"))
    return Outcome(time.monotonic() - begun, starting, workers, drivers_killed)


def tables(out: Path) -> list[FoundPicture]:
    """All that was written."""
    store = open_store(str(out))
    plan = read_plan(store)
    assert plan is not None
    return [found for shard in sorted(finished(store)) for found in table_of(plan.table).read(store, shard)]


def check(expected: list[FoundPicture], found: list[FoundPicture], pictures: int) -> dict[str, int]:
    """How often it is not as it must be: pictures missing, there twice, failed without reason, and other than before.

    Where batches were others, rounding may move a pixel: those that differ in more than a hundredth count.
    """
    times = Counter(picture.file for picture in found)
    before = {picture.file: picture for picture in expected}
    return {
        "missing": pictures - len(times),
        "twice": sum(count > 1 for count in times.values()),
        "failed": sum(bool(picture.error) for picture in found),
        "other": sum(_differs(before[picture.file], picture) for picture in found),
    }


def _differs(first: FoundPicture, second: FoundPicture) -> bool:
    areas = [{region.class_id: region.area for region in each.regions} for each in (first, second)]
    apart = sum(abs(areas[0].get(key, 0) - areas[1].get(key, 0)) for key in {*areas[0], *areas[1]})
    return bool(first.error) != bool(second.error) or apart > 2 * SIDE * SIDE / 100


@contextmanager
def ray_address(engine: str, workers: int) -> Iterator[list[str]]:
    """A small cluster of this process, which outlives drivers, and how to name it."""
    if engine != "ray":
        yield []
        return
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    try:
        yield ["--address", ray.get_runtime_context().gcs_address]
    finally:
        ray.shutdown()


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Both runs, and what is to be said of them."""
    with tempfile.TemporaryDirectory(prefix="everymask-engines-") as name:
        folder = Path(name)
        model, pictures = make_model(folder), make_pictures(folder / "pictures", options.pictures)
        words = [str(model), str(pictures), "--engine", options.engine, "--workers", str(options.workers)]
        words += ["--table", options.table, "--shard-size", str(options.shard_size)]
        with ray_address(options.engine, options.workers) as address:
            words += address
            calm = predict(folder / "calm", words, options.pictures, 0, 0)
            load = os.getloadavg()[0]
            disturbed = predict(folder / "disturbed", words, options.pictures, options.every, options.drivers)
        wrong = check(tables(folder / "calm"), tables(folder / "disturbed"), options.pictures)
    return {
        "engine": options.engine,
        "pictures": options.pictures,
        "workers_killed": disturbed.workers,
        "drivers_killed": disturbed.drivers,
        **wrong,
        "seconds_undisturbed": round(calm.seconds, 1),
        "of_which_starting": round(calm.starting, 1),
        "seconds_disturbed": round(disturbed.seconds, 1),
        "of_which_starting_again": round(disturbed.starting, 1),
        "throughput": round(calm.seconds / disturbed.seconds, 3),
        "throughput_between_starts": round(
            (calm.seconds - calm.starting) / (disturbed.seconds - disturbed.starting), 3
        ),
        "bar": BAR,
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=1000)
    parser.add_argument("--table", choices=["parquet", "coco"], default="coco")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two killed workers; 0: none")
    parser.add_argument("--drivers", type=int, default=2, help="how many drivers are killed")
    found = measure(parser.parse_args())
    print(json.dumps(found, indent=2))
    right = not found["missing"] and not found["twice"] and not found["other"] and found["failed"] == 1
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
