"""From a bundle to a predictor."""

from __future__ import annotations

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, assert_never, cast

from everymask.errors import ConfigError, MissingExtra, WeightsError, printable, unknown
from everymask.infer.predictor import Predictor
from everymask.models.specs.prompted import PromptedModelSpec
from everymask.runtimes.backend import Engine, GraphBackend
from everymask.runtimes.bundle import ANSWERING, RUNTIMES, SUFFIX, Bundle, GraphPrecision, RuntimeName, read_bundle
from everymask.runtimes.prompted import PromptedBackend
from everymask.tasks.table import task_of

EngineName: TypeAlias = RuntimeName | Literal["torch"]
RuntimeChoice: TypeAlias = Literal["auto"] | EngineName
BUNDLE = "model.emz"
"""The bundle of a run folder, which may answer in place of its weights."""
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
    if runtime == "torch":
        raise ConfigError(
            "runtime torch calculates networks, but a bundle holds the graph of one",
            hint="name the run folder that it was exported from, or leave out runtime",
        )
    check_runtime(runtime)
    bundle = read_bundle(path)
    if exact and bundle.facts.precision != "fp32":
        raise ConfigError(
            f"precision exact is float32, but {printable(path)} was exported in {bundle.facts.precision}",
            hint="leave out precision, or export it again in fp32",
        )
    return predictor_of(bundle, _installed(bundle.facts.runtime) if runtime == "auto" else runtime, device, threads)


def check_runtime(runtime: str) -> None:
    """`ConfigError` for what is none."""
    known = ("auto", "torch", *RUNTIMES)
    if runtime not in known:
        raise unknown("runtime", runtime, known)


def bundle_of_run(weights: Path, *, exact: bool = False) -> Path:
    """The bundle that `everymask export RUN --out RUN/model.emz` made of these weights of a run, to answer in place of
    them.

    `ConfigError` where there is none, where it was made of other weights, and where it is in int8, which answers
    otherwise, or with `exact` in less than float32.
    """
    file = weights.parent / BUNDLE
    again = f"everymask export {printable(weights.parent)} --out {printable(file)}"
    if not file.is_file():
        raise ConfigError(f"only PyTorch runs {printable(weights)}: there is no {BUNDLE} beside it", hint=again)
    bundle = read_bundle(file)
    if bundle.made_from.get("weights") != digest_of(weights):
        raise ConfigError(
            f"{printable(file)} was made of other weights than {printable(weights)}", hint=f"{again} --overwrite"
        )
    precision = bundle.facts.precision
    if precision == "int8" or (exact and precision != "fp32"):
        raise ConfigError(
            f"{printable(file)} calculates in {precision}, which does not answer as the run does",
            hint="name it in place of the run, or leave out runtime",
        )
    return file


def engines_of(file: Path, *, exact: bool = False) -> list[EngineName]:
    """What can run a bundle, or the weights of a run, with answers that differ by rounding alone; the usual one first.

    A graph in int8 answers otherwise elsewhere than where it was checked, and one for bfloat16 is in float32 elsewhere.
    """
    own: list[EngineName] = [] if file.suffix == SUFFIX else ["torch"]
    try:
        facts = read_bundle(bundle_of_run(file, exact=exact) if own else file).facts
    except (ConfigError, WeightsError):
        return own
    runtimes = [facts.runtime, *(name for name in RUNTIMES if name != facts.runtime and facts.precision == "fp32")]
    return own + [name for name in runtimes if find_spec(name) is not None]


def digest_of(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def predictor_of(bundle: Bundle, runtime: RuntimeName, device: str = "auto", threads: int | None = None) -> Predictor:
    """The predictor of a bundle in that runtime; errors as from `load_bundle`."""
    return Predictor(backend_of(bundle, runtime, device, threads), bundle.card)


def backend_of(
    bundle: Bundle, runtime: RuntimeName, device: str = "auto", threads: int | None = None
) -> GraphBackend | PromptedBackend:
    """The graphs of a bundle in that runtime; errors as from `load_bundle`.

    The one that answers prompts decides where masks end: it calculates in float32, whatever the other one does.
    """
    if task_of(bundle.card.spec).interactive != bool(bundle.answering):
        raise WeightsError(
            f"the bundle {'has' if bundle.answering else 'lacks'} {ANSWERING}, which those of networks that answer "
            "prompts have, and no others",
            hint="export it again",
        )
    engine = engine_of(bundle.graph, runtime, bundle.facts.precision, device, threads)
    if not bundle.answering:
        return GraphBackend(engine, bundle.card.spec, bundle.facts.batch == "one")
    spec = cast("PromptedModelSpec", bundle.card.spec)
    answering = engine_of(bundle.answering, runtime, "fp32", device, threads)
    digest = hashlib.sha256(bundle.graph + bundle.answering).hexdigest()
    return PromptedBackend(engine, answering, spec, digest)


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
