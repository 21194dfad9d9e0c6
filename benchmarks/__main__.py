"""`python -m benchmarks` lists the comparisons, `python -m benchmarks NAME` runs one, `all` runs all."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from benchmarks import (
    classical,
    data_pipeline,
    doctor,
    evaluation,
    export,
    inference,
    mask_encoding,
    openvino_parts,
    panoptic_quality,
    predict_many,
    queries,
    ranks,
    semantic,
    serving,
    startup,
    threads,
    training,
)
from benchmarks.gpu import run as gpu
from benchmarks.page import Section, Unavailable, text_of, write_section

_UNAVAILABLE = 2
COMPARISONS: dict[str, Callable[[], Section]] = {
    "classical": classical.run,
    "data-pipeline": data_pipeline.run,
    "doctor": doctor.run,
    "evaluation": evaluation.run,
    "export": export.run,
    "gpu": gpu.run,
    "inference": inference.run,
    "mask-encoding": mask_encoding.run,
    "openvino": openvino_parts.run,
    "panoptic-quality": panoptic_quality.run,
    "predict-many": predict_many.run,
    "queries": queries.run,
    "ranks": ranks.run,
    "semantic": semantic.run,
    "serving": serving.run,
    "startup": startup.run,
    "threads": threads.run,
    "training": training.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=[*COMPARISONS, "all"])
    parser.add_argument("--no-page", action="store_true", help="print the result, but leave docs/benchmarks.md alone")
    options = parser.parse_args()
    match options.name:
        case None:
            for name, run in COMPARISONS.items():
                print(f"{name:16} {(run.__doc__ or '').partition(chr(10))[0]}")
        case "all":
            # Each in a process of its own, so that none inherits caches and threads of another.
            rest = ["--no-page"] if options.no_page else []
            commands = [[sys.executable, "-m", "benchmarks", name, *rest] for name in COMPARISONS]
            codes = [subprocess.run(command, check=False).returncode for command in commands]
            # What this machine lacks is told, and is no failure of the others.
            return max(code for code in codes if code != _UNAVAILABLE)
        case name:
            try:
                section = COMPARISONS[name]()
            except Unavailable as reason:
                print(reason, file=sys.stderr)
                return _UNAVAILABLE
            print(text_of(name, section))
            if not options.no_page:
                write_section(name, section)
    return 0


if __name__ == "__main__":
    sys.exit(main())
