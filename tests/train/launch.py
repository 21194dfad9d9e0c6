"""Starts several processes that work together, as a launcher does, and waits for them, but not for ever."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0


@dataclass(frozen=True)
class Ended:
    """How one process ended, and how many seconds after the first that did."""

    code: int
    out: str
    error: str
    later: float


def launch(count: int, kind: str, out: Path, settings: object, *, timeout: float = 60.0) -> list[Ended]:
    """`tests.train.ranks_program` in `count` processes; one that does not end in two minutes is killed, and fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "EVERYMASK_RANK_TIMEOUT": str(timeout),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.train.ranks_program", kind, str(out), json.dumps(settings)]
    files = [out.with_name(f"{out.name}-{index}-{name}") for index in range(count) for name in ("out", "error")]
    streams = [file.open("w+") for file in files]
    processes = [
        subprocess.Popen(
            command,
            stdout=streams[2 * index],
            stderr=streams[2 * index + 1],
            cwd=ROOT,
            env=os.environ | shared | {"RANK": str(index), "LOCAL_RANK": str(index)},
        )
        for index in range(count)
    ]
    ended: dict[int, float] = {}
    until = time.monotonic() + DEADLINE
    try:
        while len(ended) < count and time.monotonic() < until:
            for index, process in enumerate(processes):
                if index not in ended and process.poll() is not None:
                    ended[index] = time.monotonic()
            time.sleep(0.02)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for stream in streams:
            stream.close()
    texts = [file.read_text() for file in files]
    assert len(ended) == count, f"no end in {DEADLINE} s: {texts}"
    first = min(ended.values())
    return [
        Ended(processes[index].returncode, texts[2 * index], texts[2 * index + 1], ended[index] - first)
        for index in range(count)
    ]
