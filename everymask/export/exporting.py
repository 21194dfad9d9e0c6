"""`everymask export`: from a trained model to a file, which is written where it answers as the model does."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, assert_never

from everymask.api import load_network
from everymask.backends.pytorch import build_predictor
from everymask.core.files import whole_file
from everymask.data.identity.content import DATA, read_identity
from everymask.errors import ConfigError, WeightsError, counted, printable
from everymask.export.check import Apart, Check, Given, compare_metric, compare_outputs
from everymask.export.graph import Traced, trace
from everymask.export.int8 import CALIBRATED, Quantiser, that_show_something
from everymask.export.layers import NOTICED, first_apart, layers_of, outputs_of, tapped
from everymask.export.onnx_graph import in_half, to_onnx
from everymask.export.pictures import Chosen, choose_pictures, inputs_of, needed, noise_for
from everymask.export.program import ProgramEngine, write_program
from everymask.export.prompted import compare_answers, trace_both
from everymask.export.targets import ROWS, Layout, Target, row_of
from everymask.export.triton import check_repository, write_repository
from everymask.infer.predictor import Predictor
from everymask.models.base import Network
from everymask.models.card import Card
from everymask.runtimes.backend import TAPPED, Engine, GraphBackend
from everymask.runtimes.bundle import SUFFIX, Bundle, GraphFacts, GraphPrecision, RuntimeName, read_bundle, write_bundle
from everymask.runtimes.loading import backend_of, digest_of, engine_of
from everymask.runtimes.prompted import PromptedBackend
from everymask.tasks.table import task_of
from everymask.train.folder.layout import BEST

_RUNS: dict[Target, RuntimeName] = {"onnx": "onnxruntime", "openvino": "openvino"}
COMPARED = 4
"""Of how many pictures the outputs are compared, value by value."""
_ELSEWHERE = {
    "bf16": "--to openvino calculates in bf16 where the processor can",
    "fp16": "--to onnx and --to openvino do",
    "int8": "--to onnx and --to openvino do",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What is exported, and how.

    `out` ends in `.emz` (a bundle for the torch-free runtime), or in what `to` reads by itself: .onnx, .xml (with .bin
    beside it), .pt2; with the `layout` "triton" it is the folder of a model for Triton Inference Server. The file is
    checked by up to `pictures` annotated pictures (see `choose_pictures` for `data` and `split`), and refused where
    more than `max_loss` of the metric is lost.
    """

    source: str
    out: Path
    to: Target = "onnx"
    precision: GraphPrecision = "fp32"
    data: Path | None = None
    split: str | None = None
    pictures: int = 200
    max_loss: float = 0.005
    max_detections: int | None = None
    layout: Layout = "file"
    overwrite: bool = False

    def __post_init__(self) -> None:
        row = row_of(self.to)
        if self.layout == "triton" and self.to != "onnx":
            raise ConfigError("layout triton is that of an ONNX file", hint=f"leave out --to {self.to}")
        if self.layout == "triton":
            check_repository(self.out, overwrite=self.overwrite)
        elif self.out.suffix.lower() not in row.endings:
            others = [other.name for other in ROWS if self.out.suffix.lower() in other.endings]
            raise ConfigError(
                f"what goes to {self.to} ends in {' or '.join(row.endings)}, but out is {printable(self.out)}",
                hint=f"did you mean --to {others[0]}?" if others else f"write for example --out model{row.endings[0]}",
            )
        if self.precision not in row.precisions:
            raise ConfigError(
                f"{self.to} calculates in {', '.join(row.precisions)}, but precision is {self.precision}",
                hint=_ELSEWHERE.get(self.precision, ""),
            )
        if self.layout == "file" and self.out.exists() and not self.overwrite:
            raise ConfigError(
                f"{printable(self.out)} is there already", hint="choose another --out, or add --overwrite"
            )
        if self.to == "openvino" and self.precision in ("fp16", "bf16"):
            from everymask.runtimes.on_openvino import calculates

            if not calculates(self.precision):
                raise ConfigError(
                    f"OpenVINO calculates in float32 on this processor, so {self.precision} cannot be checked here",
                    hint="export on the machine that will serve, or leave out --precision",
                )
        if self.pictures < 2:
            raise ConfigError(f"pictures must be at least 2, but got {self.pictures}")
        if not 0 <= self.max_loss <= 1:
            raise ConfigError(f"max-loss must lie between 0 and 1, but got {self.max_loss}")


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, what its check found, and the layers that an int8 graph keeps in float."""

    out: Path
    size: int
    check: Check
    left: tuple[str, ...] = ()


def export(config: ExportConfig, say: Callable[[str], None] = lambda _: None) -> Exported:
    """Write the file, once it was run and answers as the model does; `say` is told what is being done.

    `ConfigError` for options that exclude each other and for networks that cannot be traced, `WeightsError` where there
    is no such model, and where the file does not pass: then nothing is written. `MissingExtra` without the packages.
    """
    network, card = load_network(config.source)
    if not network.exportable:
        raise ConfigError(
            f"{type(card.spec).__name__} cannot be exported yet",
            hint="everymask export --list shows which networks go where",
        )
    if config.max_detections is not None:
        network = network.with_detections(config.max_detections)
        card = replace(card, spec=network.spec)
    if task_of(card.spec).interactive:
        _check_prompted(config)
    chosen = choose_pictures(config.source, card, config.data, config.split, config.pictures)
    say("tracing the network")
    if task_of(card.spec).interactive:
        return _prompted(config, network, card, chosen, say)
    traced = trace(network, card.preprocess.channels * card.preprocess.dates, card.preprocess.divisor)
    with tempfile.TemporaryDirectory() as folder:
        made = _made(config, traced, Path(folder), say)
        candidates = iter([made]) if config.precision != "int8" else _in_int8(config, card, made, chosen, Path(folder))
        for made in candidates:
            say(f"checking{made.about}")
            check = _checked(config, network, card, made, chosen, say)
            if not _loses(config, check):
                return Exported(config.out, _written(config, card, made, check), check, made.left)
        raise _refusal(config, check, made.about, _first_layer(config, network, made, next(_inputs(chosen, card))))


def _check_prompted(config: ExportConfig) -> None:
    """`ConfigError` for what a network that answers prompts does not go to."""
    if config.layout == "triton" or config.out.suffix.lower() != SUFFIX:
        raise ConfigError(
            "a network that answers prompts becomes two graphs, which only a bundle holds",
            hint="write --out model.emz, with --to onnx or --to openvino",
        )
    if config.precision == "int8":
        raise ConfigError(
            "a network that answers prompts cannot be exported in int8 yet", hint="leave out --precision, or take fp16"
        )


def _prompted(
    config: ExportConfig, network: Network, card: Card, chosen: Chosen, say: Callable[[str], None]
) -> Exported:
    """The same for a network that answers prompts, whose two graphs only a bundle holds."""
    looking, answering = trace_both(network)
    say("writing the graphs")
    runtime = _RUNS[config.to]
    graph = in_half(to_onnx(looking), boxes=False) if config.precision == "fp16" else to_onnx(looking)
    facts = GraphFacts(config.precision, runtime, "one")
    bundle = Bundle(card, graph, facts, {}, _origin_of(config.source), to_onnx(answering))
    backend = backend_of(bundle, runtime)
    assert isinstance(backend, PromptedBackend)
    say("checking")
    apart, count = compare_answers(network, backend, _inputs(chosen, card))
    if not apart.within(config.precision):
        raise WeightsError(
            f"the exported network does not answer as the model does: {_said(apart)}", hint="nothing was written"
        )
    check = _judged(config, network, Predictor(backend, card), chosen, Check(_named(runtime), count, apart), say)
    if _loses(config, check):
        raise _refusal(config, check)
    return Exported(config.out, _bundled(config, replace(bundle, check=check.to_json())), check)


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made: files in a temporary folder or a graph in memory, and an engine that has loaded it."""

    engine: Engine
    runtime: str
    one_by_one: bool
    graph: bytes = b""
    files: tuple[Path, ...] = ()
    left: tuple[str, ...] = ()
    calibrated: int = 0
    layers: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """How many layers were left in float, in words."""
        return f" with {counted(len(self.left), 'layer')} in float" if self.left else ""


def _made(config: ExportConfig, traced: Traced, folder: Path, say: Callable[[str], None]) -> _Made:
    match config.to:
        case "pt2":
            file = folder / "model.pt2"
            write_program(traced, file)
            layers = layers_of(traced.program)
            return _Made(ProgramEngine(file), _named("torch"), traced.one_by_one, files=(file,), layers=layers)
        case "onnx" | "openvino":
            say("writing the graph")
            graph = to_onnx(traced)
            if config.precision == "fp16":
                graph = in_half(graph, boxes=traced.one_by_one)
            # A graph in int8 is made of one in float, which is calculated in float.
            precision = "fp32" if config.precision == "int8" else config.precision
            made = _loaded(config, graph, precision, folder, one_by_one=traced.one_by_one)
            return replace(made, layers=layers_of(traced.program))
        case _:
            assert_never(config.to)


def _loaded(config: ExportConfig, graph: bytes, precision: GraphPrecision, folder: Path, *, one_by_one: bool) -> _Made:
    """The graph in its runtime, in the form in which it will be written."""
    runtime: RuntimeName = _RUNS[config.to]
    files: tuple[Path, ...] = ()
    if config.out.suffix.lower() == ".xml":
        from everymask.runtimes.on_openvino import write_ir

        files = write_ir(graph, folder / "model.xml", half=precision == "fp16")
    engine = engine_of(files[0] if files else graph, runtime, precision)
    return _Made(engine, _named(runtime), one_by_one, graph, files)


def _in_int8(config: ExportConfig, card: Card, exact: _Made, chosen: Chosen, folder: Path) -> Iterator[_Made]:
    """The graph in int8, then again and again with more of its layers in float: 1, 2, 4 ... up to half of them."""
    needed(chosen.check if chosen.check and len(chosen.check) > 1 else None, "int8 is checked by annotated pictures")
    train = needed(chosen.train, "int8 is calibrated on pictures of the training, never on those that validate")
    pictures = that_show_something(exact.engine, islice(inputs_of(train, card.preprocess), CALIBRATED))
    if not pictures:
        raise ConfigError("the model finds nothing in the pictures that calibrate", hint="name others with --data")
    quantiser, ranked, count = Quantiser(exact.graph, pictures, folder), list[str](), 0
    while not ranked or count <= len(ranked) // 2:
        left = tuple(ranked[:count])
        made = _loaded(config, quantiser.quantised(left), config.precision, folder, one_by_one=exact.one_by_one)
        yield replace(made, left=left, calibrated=len(pictures), layers=exact.layers)
        ranked, count = ranked or quantiser.ranked(), 2 * count or 1


def _named(package: str) -> str:
    return f"{package} {version(package)}"


def _checked(
    config: ExportConfig, network: Network, card: Card, made: _Made, chosen: Chosen, say: Callable[[str], None]
) -> Check:
    """What the gate finds; `WeightsError` names what differs where the outputs are too far apart."""
    inputs = _inputs(chosen, card)
    apart, count = compare_outputs(network, made.engine, inputs)
    if not apart.within(config.precision):
        raise WeightsError(
            f"the exported network does not answer as the model does: {_said(apart)}"
            f"{_first_layer(config, network, made, next(_inputs(chosen, card)))}",
            hint="nothing was written",
        )
    exported = Predictor(GraphBackend(made.engine, card.spec, made.one_by_one), card)
    return _judged(config, network, exported, chosen, Check(made.runtime, count, apart), say)


def _judged(
    config: ExportConfig,
    network: Network,
    exported: Predictor,
    chosen: Chosen,
    check: Check,
    say: Callable[[str], None],
) -> Check:
    """The check with the metric of both, where there is truth."""
    check = replace(check, max_loss=config.max_loss)
    if chosen.check is not None and len(chosen.check) > 1:
        own = build_predictor(network, exported.card, "cpu", precision="exact")
        compared = compare_metric(own, exported, chosen.check, say)
        return replace(check, compared=compared, pictures=len(chosen.check))
    shown = "noise" if chosen.check is None else "one picture"
    _log.warning("there are no annotated pictures to check by: outputs were compared, of %s, and no metric", shown)
    return check


def _inputs(chosen: Chosen, card: Card) -> Iterator[Given]:
    if chosen.check is None:
        return noise_for(card.preprocess)
    return islice(inputs_of(chosen.check, card.preprocess), COMPARED)


def _said(apart: Apart) -> str:
    text = f"{apart.output or 'nothing'} differs by {apart.difference:.2g} of its largest value"
    if not apart.detections:
        return text
    return f"{text}, and {apart.unmatched} of {apart.detections} detections have no counterpart"


def _origin_of(source: str) -> dict[str, Any]:
    """The digests of the model's file, and of what it learned from where its run folder says it."""
    path = Path(source)
    file = path / BEST if path.is_dir() else path
    origin = {"weights": digest_of(file)} if file.is_file() else {}
    with suppress(OSError, ValueError):
        origin["data_digest"] = read_identity(path / DATA)[0].digest
    return origin


def _loses(config: ExportConfig, check: Check) -> bool:
    return check.loss is not None and not check.loss <= config.max_loss


def _first_layer(config: ExportConfig, network: Network, made: _Made, given: Given) -> str:
    """Which layer differs first, in words."""
    values = set(made.layers.values())
    if isinstance(made.engine, ProgramEngine):
        seen = made.engine.values(values, given)
    else:
        graph = tapped(made.graph, sorted(values))
        answer = engine_of(graph, _RUNS[config.to], config.precision)(*given)
        seen = {name.removeprefix(TAPPED): value for name, value in answer.items()}
    other = {name: seen[value] for name, value in made.layers.items() if value in seen}
    found = first_apart(outputs_of(network, list(other), given), other, NOTICED[config.precision])
    if found is None:
        return f"; of {counted(len(other), 'layer')} none differs for the first picture, but what comes after them"
    least = f"{NOTICED[config.precision]:g} of its largest value"
    return f"; the first layer that differs by more than {least} is {found.name}, by {found.difference:.2g}"


def _refusal(config: ExportConfig, check: Check, about: str = "", layer: str = "") -> WeightsError:
    found = check.compared
    assert found is not None
    return WeightsError(
        f"the exported network{about} loses {-found.difference:.4f} of {found.name} ({found.first:.4f} before, "
        f"{found.second:.4f} after, 95 % interval of the difference {found.low:.4f} to {found.high:.4f}), more than "
        f"{config.max_loss:g}; {_said(check.apart)}{layer}",
        hint="nothing was written; choose a higher precision, or a larger --max-loss",
    )


def _bundled(config: ExportConfig, bundle: Bundle) -> int:
    """Write a bundle and read it back; how many bytes it has."""
    write_bundle(config.out, bundle)
    if read_bundle(config.out).graphs != bundle.graphs:
        raise WeightsError(f"{printable(config.out)} is not what was written: the disk has damaged it")
    return config.out.stat().st_size


def _written(config: ExportConfig, card: Card, made: _Made, check: Check) -> int:
    """Put the file into its place and read it back; how many bytes it has, with what lies beside it."""
    if config.layout == "triton":
        return write_repository(config.out, made.graph, card.labels)
    if config.out.suffix.lower() == SUFFIX:
        facts = GraphFacts(config.precision, _RUNS[config.to], "one" if made.one_by_one else "any")
        int8 = {"calibration_pictures": made.calibrated, "left_in_float": list(made.left)} if made.calibrated else {}
        return _bundled(config, Bundle(card, made.graph, facts, check.to_json(), _origin_of(config.source) | int8))
    if not made.files:
        with whole_file(config.out, len(made.graph)) as temporary:
            temporary.write_bytes(made.graph)
        return config.out.stat().st_size
    places = [config.out.with_suffix(file.suffix) for file in reversed(made.files)]
    for file, place in zip(reversed(made.files), places, strict=True):
        with whole_file(place, file.stat().st_size) as temporary:
            shutil.copyfile(file, temporary)
    return sum(place.stat().st_size for place in places)
