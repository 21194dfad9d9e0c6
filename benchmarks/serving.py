"""A service under three times the load that it can carry: what is still answered in time, and how it refuses."""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.compare import Bar
from benchmarks.page import Section, Unavailable
from everymask.core.labels import labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.specs.semantic import UNet

BUDGET = 2.0
LOAD = 3
WARM_SECONDS, CAPACITY_SECONDS, SECONDS = 8.0, 15.0, 40.0
SETTING = f"""`everymask serve` with a U-Net (ResNet-18, random weights, 256 × 256) in a process of its own, JPEGs of
512 × 512 as bodies of new connections from this process on the same machine. The capacity is what two clients get that
ask again as soon as they are answered: the mean of before and after, in the same run. In between requests arrive at
random (Poisson) at {LOAD} times the first of these, whatever becomes of them, each with a budget of {BUDGET:g} s.
Goodput is what is answered with 200 within it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of a request, 0 where the connection broke, and the seconds until its answer was there."""

    status: int
    seconds: float


def run() -> Section:
    """A service at three times its capacity: goodput, refusals, memory"""
    if not Path("/proc").is_dir():
        raise Unavailable("the memory of the service is read from /proc, which this system does not have")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (process, port):
        return asyncio.run(measured(process.pid, port))


async def measured(pid: int, port: int) -> Section:
    await closed_loop(port, WARM_SECONDS)
    first = await closed_loop(port, CAPACITY_SECONDS)
    before = resident(pid)
    replies = await open_loop(port, LOAD * first, SECONDS)
    after = resident(pid)
    last = await closed_loop(port, CAPACITY_SECONDS)
    capacity = (first + last) / 2
    good = [reply.seconds for reply in replies if reply.status == 200 and reply.seconds <= BUDGET]
    refused = [reply.seconds for reply in replies if reply.status == 503]
    counts = {status: sum(reply.status == status for reply in replies) for status in (200, 503, 504, 0)}
    goodput = len(good) / SECONDS / capacity
    quick = sum(seconds <= 0.05 for seconds in refused) / max(1, len(refused))
    return Section(
        title="Serving under overload",
        setting=SETTING,
        packages=("starlette", "uvicorn", "torch"),
        threads="2 of torch, in two lanes",
        bars=(
            Bar("goodput, as a share of the capacity", goodput, 0.95, unit=""),
            Bar("refusals within 50 ms, as a share", quick, 0.99, unit=""),
            Bar("memory after, beside before", after / before, 1.05, at_most=True),
        ),
        notes=(
            f"Capacity: {first:.1f} pictures per second before, {last:.1f} after. "
            f"Offered: {len(replies) / SECONDS:.1f} per second for "
            f"{SECONDS:g} s; {counts[200]:,} answered, {counts[503]:,} refused, {counts[504]:,} too late, "
            f"{counts[0]:,} connections broken.",
            f"Answers within the budget: median {statistics.median(good or [0]):.2f} s. Refusals: median "
            f"{1000 * statistics.median(refused or [0]):.0f} ms, 99 of 100 within "
            f"{1000 * float(np.percentile(refused or [0], 99)):.0f} ms.",
            f"Resident memory: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after.",
            "The client shares the cores with the service, so both its load and its delays count.",
        ),
    )


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service of its own, and its port."""
    spec, labels = UNet(encoder="resnet18"), labels_of(["background", "cell"])
    card = Card(spec, labels, Preprocess(resize=Resize(short=256, long=256)))
    save_model(folder / "unet.safetensors", build(spec, len(labels)), card)
    command = [sys.executable, "-m", "everymask", "serve", str(folder / "unet.safetensors"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--budget", f"{BUDGET:g}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().partition("/ ")[0]
        try:
            yield process, int(address.rpartition(":")[2])
        finally:
            process.terminate()


def picture() -> bytes:
    """A JPEG of 512 x 512 with something in it."""
    coarse = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((512, 512)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


BODY = picture()
REQUEST = (
    f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(BODY)}\r\n"
    "Connection: close\r\n\r\n"
).encode() + BODY


async def asked(port: int) -> Reply:
    """Ask once, on a connection of its own."""
    begun = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
        status = int(answer[9:12] or 0)
    except (OSError, ValueError):
        status = 0
    return Reply(status, time.monotonic() - begun)


async def closed_loop(port: int, seconds: float, clients: int = 2) -> float:
    """Answers per second that so many clients get, each asking again at once."""
    until, count = time.monotonic() + seconds, 0

    async def client() -> None:
        nonlocal count
        while time.monotonic() < until:
            count += (await asked(port)).status == 200

    await asyncio.gather(*(client() for _ in range(clients)))
    return count / seconds


async def open_loop(port: int, rate: float, seconds: float) -> list[Reply]:
    """The replies to requests that arrive at random, `rate` per second, whatever becomes of those before."""
    rng, tasks = random.Random(0), []
    begun = time.monotonic()
    due = begun
    while due < begun + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(asked(port)))
        due += rng.expovariate(rate)
    return list(await asyncio.gather(*tasks))


def resident(pid: int) -> int:
    """The bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * 4096
