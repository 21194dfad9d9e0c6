"""A prediction that was terminated or killed keeps what is done, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from everymask.cli import run
from everymask.core.randomness import rng
from everymask.data.pictures.read import write_image
from everymask.models.specs.any_spec import ModelSpec
from tests.commands.small_models import MAPS, OBJECTS, make_model

COUNT = 6
# The prediction stops itself while the fourth picture is written: no clock is involved.
STOP = """
import os, signal, sys
from everymask.cli import run
from everymask.results import writing_{kind} as writing
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where who runs the tests ignores it
plain, calls = writing.write_image, iter(range(1000))
def write_image(path, array):
    if "3" in path.name:
        path.with_name("." + 32 * "a" + ".png").write_bytes(b"half")
        os.kill(os.getpid(), {signal})
    plain(path, array)
writing.write_image = write_image
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module", params=[MAPS, OBJECTS], ids=["semantic", "instances"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    spec: ModelSpec = request.param
    file = make_model(tmp_path_factory.mktemp("model"), spec, 64)
    return file, "instances" if spec is OBJECTS else "semantic"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(COUNT):
        write_image(folder / f"{k}.png", rng(k, "stop").integers(255, size=(64, 64)).astype(np.uint8))
    return folder


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def predict(model: Path, pictures: Path, out: Path, *more: str) -> int:
    return run(["predict", str(model), str(pictures), "--out", str(out), "--batch", "1", "--min-score", "0", *more])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "number", "code"),
    [
        (spec, *ending)
        for spec in (OBJECTS, MAPS)
        for ending in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130))
    ],
    indirect=["model"],
)
def test_it_keeps_what_is_done_and_goes_on(
    model: tuple[Path, str],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    """K01, K02, K04."""
    file, kind = model
    out = tmp_path / "out"
    command = ["predict", file, pictures, "--out", out, "--batch", "1", "--min-score", "0"]
    program = STOP.format(kind=kind, signal=int(number))
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, command)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if number != signal.SIGKILL:
        assert "stopped after 3 pictures" in done.stderr
        assert "--resume" in done.stderr
        rows = (out / "predictions.csv").read_text("utf-8").splitlines()[1:]
        assert {row.split(",")[0] for row in rows} <= {"0.png", "1.png", "2.png"}
    assert predict(file, pictures, out) == 2
    assert "--resume" in capsys.readouterr().err
    assert predict(file, pictures, out, "--resume", "--overlay", "none") == 2
    assert "overlay was 'png', now 'none'" in capsys.readouterr().err
    assert predict(file, pictures, out, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == COUNT
    assert predict(file, pictures, tmp_path / "whole") == 0
    assert files(out) == files(tmp_path / "whole")
    assert predict(file, pictures, out, "--resume") == 2
    assert "no prediction to continue" in capsys.readouterr().err


def test_what_the_tables_do_not_hold_is_not_done(
    model: tuple[Path, str], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that lost its power: the journal is there, and the end of a table is not."""
    file, kind = model
    module = f"everymask.results.writing_{kind}"
    plain = sys.modules[module].write_image

    def stop(path: Path, array: np.ndarray) -> None:
        if "4" in path.name:
            raise KeyboardInterrupt
        plain(path, array)

    monkeypatch.setattr(f"{module}.write_image", stop)
    out = tmp_path / "out"
    assert predict(file, pictures, out) == 130
    monkeypatch.undo()
    table = out / ".unfinished" / "predictions.csv"
    table.write_bytes(table.read_bytes()[:-10])
    with (out / ".unfinished" / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"file": "')
    assert predict(file, pictures, out, "--resume") == 0
    assert predict(file, pictures, tmp_path / "whole") == 0
    assert files(out) == files(tmp_path / "whole")


def test_overwrite_begins_anew(model: tuple[Path, str], pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".unfinished").mkdir(parents=True)
    (out / ".unfinished" / "journal.jsonl").write_text("old")
    assert predict(model[0], pictures, out, "--resume", "--overwrite") == 2
    assert predict(model[0], pictures, out, "--overwrite") == 0
    assert not (out / ".unfinished").exists()
