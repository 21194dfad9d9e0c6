"""`python -m benchmarks.planning`: what `everymask plan` expects beside what training then took, on drawn pictures.

Plan and training run right after each other, so that whoever shares the machine slows both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from everymask.data.shapes import write_shapes
from everymask.train.folder.log_lines import read_log

PICTURES, HELD_OUT, SIZE = 120, 12, 192
COMBINATIONS = (
    ("--model", "mask-rcnn-small", "--epochs", "2"),
    ("--model", "mask-rcnn-small", "--encoder", "mobilenetv2_100", "--epochs", "2"),
    ("--model", "faster-rcnn-v2", "--encoder", "resnet18", "--epochs", "1"),
    ("--task", "semantic", "--model", "unet", "--encoder", "resnet18", "--epochs", "3"),
    ("--task", "semantic", "--model", "deeplabv3+", "--encoder", "mobilenetv2_100", "--epochs", "3"),
    ("--task", "semantic", "--model", "unet", "--encoder", "tf_efficientnet_lite0", "--batch", "2", "--epochs", "2"),
)


def main() -> int:
    """Print a line for each combination: expected and real seconds and MB, and their ratios."""
    within = 0
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        write_shapes(data, train=PICTURES, val=HELD_OUT, size=SIZE)
        for number, options in enumerate(COMBINATIONS):
            common = [str(data), *options, "--weights", "none", "--out", str(Path(name) / f"run{number}")]
            expected = json.loads(_everymask("plan", *common, "--json"))
            _everymask("train", *common)
            steps = [entry for entry in read_log(Path(name) / f"run{number}" / "log.jsonl") if entry["kind"] == "step"]
            seconds, memory = steps[-1]["seconds"], steps[-1]["memory_mb"]
            ratios = expected["seconds"] / seconds, expected["memory_mb"] / memory
            within += all(0.75 <= ratio <= 1.25 for ratio in ratios)
            print(
                f"{' '.join(options):90} {expected['seconds']:6.1f} of {seconds:6.1f} s ({ratios[0]:.2f})  "
                f"{expected['memory_mb']:5,.0f} of {memory:5,.0f} MB ({ratios[1]:.2f})",
                flush=True,
            )
    print(f"within 25 %: {within} of {len(COMBINATIONS)}")
    return 0 if within == len(COMBINATIONS) else 1


def _everymask(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "everymask", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
