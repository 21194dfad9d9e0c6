"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NewType, TypeAlias, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from everymask.classical.bases import Method
from everymask.classical.named import METHODS, method_name, read_settings, with_settings
from everymask.commands.terminal import quoted
from everymask.core.files import is_there
from everymask.core.processes.launched import launched
from everymask.core.processes.rank import ALONE, Rank
from everymask.core.segmentation import TaskName
from everymask.core.threads import require_torch
from everymask.errors import ConfigError, printable
from everymask.train.folder.layout import BEST

if TYPE_CHECKING:
    from everymask.classical.splitting import Splitting
    from everymask.data.panoptic import PanopticRule
    from everymask.infer.predictor import Predictor

Data: TypeAlias = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
Trained: TypeAlias = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
Asked = TypeVar("Asked", bound="Running")
Setting = NewType("Setting", str)
"""A setting of a model and its value: `blur=1.5`."""
rules: ConstructorRegistry = ConstructorRegistry()
"""How options of this package's own types are read; for `tyro.cli`."""


class Format(str):
    """A format by its name in the table of formats."""

    __slots__ = ()

    @staticmethod
    def names() -> tuple[str, ...]:
        """All there are. That imports their readers, which takes longer than showing what has no such option."""
        from everymask.data.formats.table import FORMATS

        return tuple(known.name for known in FORMATS)


@rules.primitive_rule
def _format(option: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Format] | None:
    """As tyro reads a Literal. It asks only for the options of the verb that is called."""
    if option.type is not Format:
        return None
    names = Format.names()
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(names) + "}",
        instance_from_str=lambda words: Format(words[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
        choices=names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an annotated data set is read."""

    format: Format | None = None
    """The format, where it is not to be recognised."""
    images: Path | None = None
    """The folder of the pictures, where it is not beside the annotations."""
    masks: Path | None = None
    """The folder of the label maps, or its name, where several lie beside the pictures."""
    mask_threshold: int | None = None
    """From which brightness on (1-255) masks show foreground that are JPEGs or have smoothed edges; else midway."""
    on_defect: Literal["strict", "skip"] = "strict"
    """Refuse a data set with defects, or leave out what is defective, count it and list it."""
    crowds: Literal["as-marked", "as-objects"] = "as-marked"
    """Leave aside what is marked as a crowd (iscrowd, difficult), or take it as an object, as for masks that CVAT's
    brush drew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingFor(Reading):
    """How an annotated data set is read, and what for."""

    task: TaskName | None = None
    """A class for every pixel (semantic), for which objects are painted, objects one by one (instance), both at once
    (panoptic), or what changed between two dates (change); None: as it is annotated."""
    things: tuple[str, ...] = ()
    """Make panoptic maps: these classes are counted one by one; in label maps each connected piece."""
    stuff: tuple[str, ...] = ()
    """Make panoptic maps: these classes are not counted, such as sky; with things alone all others are."""

    @property
    def wanted(self) -> TaskName | None:
        """The task; who names things or stuff asks for panoptic maps."""
        return self.task or ("panoptic" if self.rule else None)

    @property
    def rule(self) -> PanopticRule | None:
        """Which classes are things and which are stuff, where that is said."""
        from everymask.data.panoptic import PanopticRule

        return PanopticRule(self.things, self.stuff) if self.things or self.stuff else None


# Python cannot derive a class from two that have slots; this one goes without.
@dataclass(frozen=True, kw_only=True)
class Running:
    """How a trained model is run."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    precision: Literal["auto", "exact"] = "auto"
    """exact keeps to float32; auto is bfloat16 where the hardware calculates it: half the time, nearly the same."""
    runtime: Literal["auto", "torch", "onnxruntime", "openvino"] = "auto"
    """What calculates: a bundle (.emz) onnxruntime or openvino, a run torch, and these where its own bundle is
    RUN/model.emz. auto is the fastest on this machine, which is tried once on the first of 20 pictures or more."""
    tta_flip: Literal["none", "horizontal", "both"] = "none"
    """Label maps: average over the mirrored picture too; both is also upside down, in 4 times the time."""
    tta_scales: str = "1"
    """Label maps: average over these scales of the picture, such as 0.75,1,1.25."""
    set: tuple[Setting, ...] = ()
    """Settings of a method without a network: --set blur=1.5 factor=0.8. A wrong one lists which there are."""
    split_objects: bool = False
    """Label maps: cut each class but the background into objects, by a watershed of the distance to its border."""
    split_h: float = 0.75
    """With --split-objects: how many pixels the place farthest from the border must rise above the pass to the next."""
    split_sigma: float = 1.5
    """With --split-objects: the Gaussian, in pixels, that goes over the distance first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring(Reading, Running):
    """How predictions are compared with annotated pictures."""

    split: str | None = None
    """Only this part of the data set: val, test, train ..."""
    void: Literal["ignored", "wrong"] = "ignored"
    """What a label map says where there is no truth: ignored (as by Cityscapes), or wrong."""
    classes: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Which class of the model one of the data set is, where they are called differently: nucleus=object. Again for
    every further class."""
    json: bool = False
    """Print the answer as one JSON object."""


def class_names(options: Scoring) -> dict[str, str]:
    """The names of the model's classes by those of the data set, as `--classes` gives them."""
    named = class_pairs(options.classes)
    for name, meant in named.items():
        if not meant:
            raise ConfigError(
                f"classes are mapped by the data set's name and the model's, but got none for {printable(name)!r}",
                hint="for example --classes nucleus=object --classes dirt=background",
            )
    return named


def class_pairs(texts: Sequence[str]) -> dict[str, str]:
    """Names of classes and what they become, of texts with a pair (nucleus=object, nucleus:object) or several pairs
    with commas in between; a text is one pair where not every piece between commas is one. The second name may be
    empty.

    With both signs in a pair the equals sign divides it, so that names may have colons.
    """
    named: dict[str, str] = {}
    for text in texts:
        pieces = [piece for piece in text.split(",") if piece.strip()]
        several = all(map(_divided, pieces)) and bool(pieces)
        for pair in map(_divided, pieces if several else [text]):
            if pair is None:
                raise ConfigError(
                    f"classes are mapped by the data set's name and another, but got {printable(text)!r}",
                    hint="for example --classes nucleus=object --classes dirt=background",
                )
            name, meant = pair
            if named.setdefault(name, meant) != meant:
                raise ConfigError(
                    f"the class {printable(name)!r} is mapped twice, to {printable(named[name])!r} and "
                    f"{printable(meant)!r}"
                )
    return named


def _divided(pair: str) -> tuple[str, str] | None:
    """A class name and another, which may be empty; None where the text is no pair."""
    name, sign, meant = pair.partition("=" if "=" in pair else ":")
    return (name.strip(), meant.strip()) if sign and name.strip() else None


def load_predictor(
    model: str, options: Running, threads: int | None = None, *, split_if_maps: bool = False
) -> Predictor:
    """The model of that name, to be run as `options` say; a bundle with so many threads.

    With `split_if_maps` what finds objects is not split.
    """
    from everymask.api import load
    from everymask.infer.variants import TestTimeAugmentation

    augmentation = TestTimeAugmentation(options.tta_flip, _scales(options.tta_scales))
    predictor = load(
        named_method(model, options.set),
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
        threads=threads,
    )
    if augmentation != TestTimeAugmentation():
        predictor = predictor.with_augmentation(augmentation)
    splitting = splitting_of(options)
    if splitting is None or (split_if_maps and "split-objects" not in predictor.task.options):
        return predictor
    return predictor.with_objects(splitting)


def named_method(model: str, settings: Sequence[str]) -> str | Method:
    """The method of that name with the settings that `--set` gives it, or the name of another model, which has none."""
    if model in METHODS and not _is_model_file(Path(model)):
        return method_with(METHODS[model](), settings)
    return method_with(None, settings, called=printable(model)) if settings else model


def method_with(method: Method | None, settings: Sequence[str], *, called: str = "the model") -> Method:
    """The method with the settings that `--set` gives it; `ConfigError` where what is `called` so is none."""
    if method is None:
        raise ConfigError(
            f"--set is for methods that have a name, but {called} is another model",
            hint=f"the methods are {', '.join(METHODS)}",
        )
    return with_settings(method, read_settings(settings), method_name(method))


def splitting_of(options: Running) -> Splitting | None:
    """How label maps are to be split into objects; None: they are not."""
    from everymask.classical.splitting import Splitting

    usual = Splitting()
    if options.split_objects:
        return Splitting(h=options.split_h, sigma=options.split_sigma)
    if (options.split_h, options.split_sigma) != (usual.h, usual.sigma):
        raise ConfigError("split-h and split-sigma say how objects are split", hint="add --split-objects")
    return None


@contextmanager
def together(options: Asked) -> Iterator[tuple[Rank, Asked]]:
    """Within the block the processes that a launcher started work together: which one this is, and its own options."""
    if launched() is None:
        yield ALONE, options
        return
    require_torch()
    from everymask.train.machine.group import joined, local_device

    with joined(options.device) as rank:
        yield rank, replace(options, device=str(local_device(options.device)))


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"tta-scales must be numbers, but got {printable(text)!r}", hint="for example 0.75,1,1.25"
        ) from None


_MODEL_FILES = (".safetensors", ".emz", ".pth", ".pt", ".ckpt", ".pkl", ".h5", ".hdf5")


def check_order(verb: str, model: str, others: Sequence[str]) -> None:
    """`ConfigError` where MODEL is none and one of the words behind it is."""
    swapped = next((other for other in others if _is_model(other)), None)
    if swapped is not None and not _is_model(model):
        words = " ".join(map(quoted, (swapped, model, *(word for word in others if word != swapped))))
        raise ConfigError(
            f"the model stands first, but {printable(model)} is none, and {printable(swapped)} is one",
            hint=f"did you mean: everymask {verb} {words}?",
        )


def _is_model(word: str) -> bool:
    from everymask.models.catalog import catalog

    path = Path(word)
    if is_there(path):
        return _is_model_file(path)
    return word in METHODS or word in {row.name for row in catalog()}


def _is_model_file(path: Path) -> bool:
    return (path / BEST).is_file() or (path.is_file() and path.suffix.lower() in _MODEL_FILES)
