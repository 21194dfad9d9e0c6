"""From a bundle to a predictor."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from everymask.errors import ConfigError, MissingExtra, printable, unknown
from everymask.infer.predictor import Predictor
from everymask.runtimes.backend import Engine, GraphBackend
from everymask.runtimes.bundle import RUNTIMES, Bundle, GraphPrecision, RuntimeName, read_bundle

RuntimeChoice: TypeAlias = Literal["auto"] | RuntimeName
_EXTRAS: dict[RuntimeName, str] = {"onnxruntime": "runtime", "openvino": "openvino"}
_log = logging.getLogger(__name__)


def load_bundle(
    path: str | Path,
    *,
    runtime: RuntimeChoice = "auto",
    device: str = "auto",
    threads: int | None = None,
    exact: bool = False,
) -> Predictor:
    """A bundle, ready to predict; no PyTorch is needed.

    `runtime` "auto" is the one in which the bundle was checked, else, with a warning, another that is installed.
    `WeightsError` as from `read_bundle`, and where the runtime cannot load the graph; `MissingExtra` without a runtime;
    `ConfigError` where it cannot use the `device`, and where float32 is wanted (`exact`) of a graph in less.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise unknown("runtime", runtime, ("auto", *RUNTIMES))
    bundle = read_bundle(path)
    if exact and bundle.facts.precision != "fp32":
        raise ConfigError(
            f"precision exact is float32, but {printable(path)} was exported in {bundle.facts.precision}",
            hint="leave out precision, or export it again in fp32",
        )
    return predictor_of(bundle, _installed(bundle.facts.runtime) if runtime == "auto" else runtime, device, threads)


def predictor_of(bundle: Bundle, runtime: RuntimeName, device: str = "auto", threads: int | None = None) -> Predictor:
    """The predictor of a bundle in that runtime; errors as from `load_bundle`."""
    engine = engine_of(bundle.graph, runtime, bundle.facts.precision, device, threads)
    return Predictor(GraphBackend(engine, bundle.card.spec, bundle.facts.batch == "one"), bundle.card)


def engine_of(
    graph: bytes | Path,
    runtime: RuntimeName,
    precision: GraphPrecision,
    device: str = "auto",
    threads: int | None = None,
) -> Engine:
    """A graph, or the file of one, loaded by that runtime; errors as from `load_bundle`."""
    match runtime:
        case "onnxruntime":
            from everymask.runtimes.on_onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(graph, device=device, threads=threads)
        case "openvino":
            from everymask.runtimes.on_openvino import OpenVinoEngine

            return OpenVinoEngine(graph, precision=precision, device=device, threads=threads)
        case _:
            assert_never(runtime)


def _installed(checked: RuntimeName) -> RuntimeName:
    """The runtime in which a bundle was checked, or another one that is here."""
    found = [name for name in (checked, *RUNTIMES) if find_spec(name) is not None]
    if not found:
        raise MissingExtra(f'this needs {checked}: pip install "everymask[{_EXTRAS[checked]}]"')
    if found[0] != checked:
        _log.warning("the model was checked in %s, which is not installed; it runs in %s", checked, found[0])
    return found[0]
