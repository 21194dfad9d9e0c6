"""Starts several processes that work together, as a launcher does, and waits for them, but not for ever."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
_READY = multiprocessing.get_context("forkserver")
"""Forks processes of one that has imported everything, which takes longer than most of them do."""
_READY.set_forkserver_preload(["tests.train.ranks_program"])


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
    arguments = (kind, str(out), json.dumps(settings))
    files = [out.with_name(f"{out.name}-{index}-{name}") for index in range(count) for name in ("out", "error")]
    own = [shared | {"RANK": str(index), "LOCAL_RANK": str(index)} for index in range(count)]
    processes = [
        _READY.Process(target=_run, args=(arguments, own[index], *files[2 * index : 2 * index + 2]))
        for index in range(count)
    ]
    for process in processes:
        process.start()
    ended: dict[int, float] = {}
    until = time.monotonic() + DEADLINE
    try:
        while len(ended) < count and time.monotonic() < until:
            for index, process in enumerate(processes):
                if index not in ended and process.exitcode is not None:
                    ended[index] = time.monotonic()
            time.sleep(0.02)
    finally:
        for process in processes:
            process.kill()
            process.join()
    texts = [file.read_text() for file in files]
    assert len(ended) == count, f"no end in {DEADLINE} s: {texts}"
    first = min(ended.values())
    return [
        Ended(processes[index].exitcode or 0, texts[2 * index], texts[2 * index + 1], ended[index] - first)
        for index in range(count)
    ]


def _run(arguments: tuple[str, ...], environment: dict[str, str], out: Path, error: Path) -> None:
    """In the process: what it says goes to files, and it calculates with one thread, as OMP_NUM_THREADS has it."""
    from tests.train import ranks_program

    os.environ.update(environment)
    for stream, file in ((1, out), (2, error)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    torch.set_num_threads(1)
    sys.argv[1:] = arguments
    sys.exit(ranks_program.main())
