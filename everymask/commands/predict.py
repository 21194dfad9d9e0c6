"""`everymask predict`: masks on new pictures."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from everymask.classical.bases import MethodSpec
from everymask.commands.batch.options import Loading, Sharding, check_sharding
from everymask.commands.options import Trained, check_order, together
from everymask.commands.prompting.answers import Prompting
from everymask.commands.running.fastest import load_in_fastest, with_fastest
from everymask.commands.running.merging import merged_with
from everymask.commands.running.tiles import ByTiles, dates_of
from everymask.commands.terminal import progress, show, show_json
from everymask.core.memory import room_for
from everymask.data.video.file import is_video
from everymask.errors import ConfigError, DataError, Issue, UnusableHere, counted, printable

if TYPE_CHECKING:
    from everymask.commands.batch.shards import Asked
    from everymask.infer.merged import Merged
    from everymask.infer.predictor import Predictor
    from everymask.infer.prompted.segmenter import Segmenter
    from everymask.infer.result import Result
    from everymask.infer.sources import TwoDates
    from everymask.infer.tiling import Tiling
    from everymask.results.output import OutputFolder

    Source: TypeAlias = Predictor | Segmenter | Merged

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict(Sharding):
    """Segment pictures and write overlays and one CSV; of objects also instance-id PNGs and one COCO JSON, of semantic
    models label maps, of panoptic ones PNGs of segments and one COCO panoptic JSON.

    A picture that cannot be read does not stop the others; it is listed at the end.
    """

    model: Trained
    """A run folder, a .safetensors file, a bundle (.emz), a name of `everymask models`, such as otsu, or a
    checkpoint of Detectron2, mmdetection, mmsegmentation, matterport's Mask R-CNN and others (.pkl, .pth, .h5)."""
    sources: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="PICTURES")]
    """Pictures, folders of pictures, or patterns such as 'photos/*.jpg'; for a model that compares two dates the
    earlier and the later: before/ after/. With --engine also lists of pictures (text, CSV, JSON lines, Parquet), and
    addresses such as s3://bucket/folder."""
    out: str
    """The folder to write."""
    min_score: float | None = None
    """Leave out objects below this score; otherwise 0.5, and of the objects of --points and --boxes none."""
    max_detections: int | None = None
    """The most objects per picture, and as many proposals as that needs; otherwise what the model was trained for.
    Where that may have cut something a warning says so."""
    duplicate_iou: float | None = None
    """Of objects that overlap by more than this IoU, whatever their classes, keep the surest; otherwise 0.8. 1 keeps
    all."""
    overlay: Literal["png", "jpg", "none"] | None = None
    """Format of the drawn pictures; for many large pictures jpg, or none, saves time and space. Otherwise it is png,
    and with --engine none."""
    maps: Literal["png", "tif"] = "png"
    """Format of label maps: PNG with a palette of colours, or grey TIFF, which also holds more than 256 classes and
    keeps the geographic tags of a GeoTIFF."""
    tile: int | None = None
    """Predict by windows of this side in pixels, so that pictures may be larger than memory. They keep their own
    resolution: nothing is resized. What several windows see of one object becomes one."""
    tile_overlap: float | None = None
    """The share of their side that neighbouring windows have in common; otherwise 0.25."""
    whole: bool = True
    """With --tile, where things are found: besides the tiles look at the whole picture, shrunk, for those larger than
    a tile."""
    everything: bool = False
    """Networks that answer prompts: find all that points spread over a picture point at."""
    points_per_side: int | None = None
    """With --everything: how many points a row and a column have; otherwise 32."""
    points: Path | None = None
    """Networks that answer prompts: a CSV file of points, with the columns file, x and y in pixels, and perhaps label
    (1 on the object, 0 beside it) and object (points of one object have one number)."""
    boxes: Path | None = None
    """Networks that answer prompts: a CSV file of boxes, with the columns file, x1, y1, x2 and y2 in pixels, such as
    predictions.csv of a detector."""
    track: bool = False
    """SAM 2.1: follow objects through a video, which is a video file, or a folder of frames in the order of the numbers
    in their names. They are pointed at by --points or --boxes, in which a column frame counts from 0 (or file names a
    frame) and object has their numbers, or by --masks."""
    masks: Path | None = None
    """With --track: a PNG with the objects' numbers at each pixel of the first frame, or a folder of such, called as
    the frames that they show."""
    merge: str | None = None
    """Panoptic maps of two models: things as MODEL finds them, and stuff as this model of label maps says."""
    outline: str | None = None
    """Have what MODEL finds outlined by this network that answers prompts, such as mobile-sam: boxes become masks."""
    batch: int | None = None
    """How many pictures of one size the network is given at once; otherwise as many small ones as keep it busy."""
    overwrite: bool = False
    """Write into a folder that is not empty; files of other names stay."""
    resume: bool = False
    """Go on with a prediction into this folder that was stopped: pictures that are done are not predicted again. With
    --engine it begins where there is none yet."""
    json: bool = False
    """Print the answer as one JSON object."""

    @property
    def least(self) -> float:
        """The score below which objects are left out."""
        return (0.0 if self.points or self.boxes or self.track else 0.5) if self.min_score is None else self.min_score

    @property
    def prompting(self) -> Prompting:
        """What a network that answers prompts is asked."""
        return Prompting(self.everything, self.points_per_side, self.points, self.boxes, self.masks, track=self.track)


def run(options: Predict) -> None:
    """Predict batch by batch, in constant memory; the next pictures are read while results are written."""
    from everymask.commands.sources import find_dates
    from everymask.infer.sources import TwoDates
    from everymask.tasks.task import Writing

    _check(options)
    loading = Loading(options.model, options, options.max_detections, options.duplicate_iou)
    if options.engine is not None:
        _run_in_shards(options, loading)
        return
    if options.track:
        _run_track(options, loading)
        return
    passed_over: Counter[str] = Counter()
    pictures: Sequence[Path | TwoDates] = _pictures(options, passed_over)
    whole = not options.tile and not options.prompting
    model = load_in_fastest(
        options.model, options, pictures if whole else (), lambda asked: loading.run_by(asked).load()
    )
    source = _with_another(model, options)
    if model.card.preprocess.dates > 1:
        pictures = [TwoDates(*dates) for dates in find_dates(options.sources)]
    tiling = _tiling(options, model)
    writing = Writing(
        Path(options.out),
        options.overwrite,
        options.sources,
        options.overlay or "png",
        options.maps,
        _about(model, options),
        options.resume,
    )
    task = source.task
    folder = task.folder(source.labels, writing)
    defects: list[Issue] = []
    shrunk, unreadable, scores = 0, 0, _Scores()
    with folder, _said_how_to_go_on(folder), progress("predicting") as move:
        if folder.done:
            _log.warning("%s done already", counted(len(folder.done), "picture"))
            pictures = [picture for picture in pictures if str(dates_of(picture)[-1]) not in folder.done]
        outcomes = _outcomes(folder, model, source, pictures, tiling, move, options)
        for done, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, DataError):
                defects.append(Issue("picture", outcome.message, hint=outcome.hint))
                unreadable += isinstance(outcome, UnusableHere)
            elif outcome is not None:
                scores.add(outcome)
                shrunk += "tile" in task.options and _is_shrunk(outcome, model)
            move(done, len(pictures))
    if shrunk:
        _tell_shrunk(shrunk, model)
    _tell_cuts(folder, options)
    if folder.count and not folder.found and scores.known:
        _log.warning("%s", scores.sentence(options.least))
    _answer(folder, defects, +passed_over, options)
    if defects:
        message = f"{len(defects)} of {counted(len(pictures), 'picture')} could not be predicted"
        raise (UnusableHere if unreadable else DataError)(message, issues=defects)


def _pictures(options: Predict, passed_over: Counter[str]) -> list[Path]:
    """The pictures; `ConfigError` where what is found in them must not be written, before a model is loaded."""
    from everymask.commands.sources import find_pictures
    from everymask.results.output import check_place

    pictures = find_pictures(options.sources, passed_over)
    inputs = [Path(source) for source in options.sources]
    check_place(Path(options.out), inputs, overwrite=options.overwrite or options.resume)
    return pictures


def _check(options: Predict) -> None:
    if not options.sources:
        raise ConfigError(
            f"predict needs a model and pictures, but got only {printable(options.model)}",
            hint="for example: everymask predict runs/a photos/ --out masks",
        )
    if not 0 <= options.least <= 1:
        raise ConfigError(f"min-score must lie between 0 and 1, but got {options.least}")
    if options.resume and options.overwrite:
        raise ConfigError("resume and overwrite exclude each other: continue the prediction in out, or replace it")
    check_sharding(options)
    options.prompting.check()
    if options.prompting and (options.engine or options.tile or options.batch):
        raise ConfigError(
            "prompts are answered picture by picture, here and without tiles", hint="leave out engine, tile and batch"
        )
    if options.outline is not None and (options.prompting or options.engine or options.tile):
        raise ConfigError(
            "outline is for what a detector finds, picture by picture",
            hint="leave out everything, points, boxes, engine and tile",
        )
    if options.merge is not None and (options.prompting or options.engine or options.outline):
        raise ConfigError(
            "two models are merged picture by picture",
            hint="leave out everything, points, boxes, outline and engine",
        )
    _check_track(options)
    check_order("predict", options.model, options.sources)


def _check_track(options: Predict) -> None:
    videos = [source for source in options.sources if is_video(source)]
    if videos and not options.track:
        raise ConfigError(
            f"{printable(videos[0])} is a video",
            hint="follow objects in it with --track, or write its frames as pictures: ffmpeg -i FILE frames/%06d.png",
        )
    if options.track and options.resume:
        raise ConfigError(
            "what is followed through a video is followed from where it was pointed at", hint="leave out resume"
        )


def _run_track(options: Predict, loading: Loading) -> None:
    """Follow objects through a video, in constant memory."""
    from everymask.commands.prompting.tracking import followed, frames_of, point
    from everymask.results.writing_tracks import TrackFolder

    model = load_in_fastest(options.model, options, (), lambda asked: loading.run_by(asked).load())
    frames = frames_of(options.sources)
    video = model.video(frames)
    folder = TrackFolder(
        options.out,
        model.labels,
        overwrite=options.overwrite,
        inputs=options.sources,
        overlay=options.overlay or "png",
    )
    point(video, frames, options.prompting)
    with folder, progress("following") as move:
        for done, (tracked, sample) in enumerate(followed(video, frames), start=1):
            sure = model.task.keep_sure(tracked.objects, options.least)
            folder.add_frame(tracked.frame, tracked.time, sample, sure)
            move(done, len(frames))
    _answer(folder, [], Counter(), options)


def _run_in_shards(options: Predict, loading: Loading) -> None:
    """Predict by an engine, which may be many processes, or in those that a launcher started."""
    if options.maps != "png":
        raise ConfigError("maps are PNGs where pictures are predicted in shards", hint="leave out maps, and add --pngs")
    from everymask.commands.batch.shards import failed_of, predict_in_shards

    with together(options) as (rank, own):
        if options.engine == "local" and rank.count == 1:
            loading.prepare()
        loading = loading.run_by(with_fastest(options.model, own))
        with rank.first_on_machine():
            model = loading.load()
        if model.card.preprocess.dates > 1:
            raise ConfigError(
                "engines predict pictures one by one, but this model compares two dates", hint="leave out --engine"
            )
        answer = predict_in_shards(_asked(model, own), own, loading, model, rank)
    if answer is None:
        return
    _tell_cuts(answer.folder, options)
    _answer(answer.folder, answer.issues, +answer.passed_over, options, failures=answer.total.failed)
    if answer.total.failed:
        message = f"{failed_of(answer)}; all of these are listed in {options.out}/errors.csv"
        kind = UnusableHere if answer.total.unusable else DataError
        raise kind(message, issues=answer.issues, total=answer.total.failed)


def _with_another(model: Predictor, options: Predict) -> Source:
    """The model, with the one that outlines what it finds, or that says what else there is, if there is one."""
    if options.merge is not None:
        return merged_with(options.merge, options.model, model, options, options.least)
    if options.outline is None:
        return model
    from everymask.api import load
    from everymask.infer.prompted.segmenter import Segmenter

    return Segmenter(model, load(options.outline, device=options.device, precision=options.precision), options.least)


def _asked(model: Predictor, options: Predict) -> Asked:
    from everymask.commands.batch.shards import Asked

    return Asked(
        out=options.out,
        sources=options.sources,
        min_score=options.least,
        batch=options.batch,
        tiling=_tiling(options, model),
        overlay=options.overlay or "none",
        about=_about(model, options),
        resume=options.resume,
        overwrite=options.overwrite,
    )


def _about(model: Predictor, options: Predict) -> dict[str, object]:
    """All on which the results depend."""
    wanted = (
        "min_score", "max_detections", "duplicate_iou", "overlay", "maps", "tile", "tile_overlap", "precision",
        "tta_flip", "tta_scales", "split_objects", "split_h", "split_sigma",
    )  # fmt: skip
    about = {name: getattr(options, name) for name in wanted} | {"min_score": options.least}
    if not options.whole:
        about |= {"whole": False}
    if options.prompting:
        about |= {"prompting": repr(options.prompting)}
    about |= {name: named for name in ("outline", "merge") if (named := getattr(options, name)) is not None}
    return {"model": repr(model.card), **about, "overlay": options.overlay or "png"}


@contextmanager
def _said_how_to_go_on(folder: OutputFolder[Any]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if folder.count:
            _log.warning(
                "stopped after %s, which are written; the same command with --resume goes on",
                counted(folder.count, "picture"),
            )
        raise


def _tiling(options: Predict, model: Predictor) -> Tiling | None:
    from everymask.infer.tiling import Tiling

    if options.maps != "png":
        model.task.refuse("maps")
    if options.tile is None:
        if options.tile_overlap is not None:
            raise ConfigError("tile-overlap says how far tiles overlap, but there are none", hint="add --tile 1024")
        if not options.whole:
            raise ConfigError("no-whole is for tiles, but there are none", hint="add --tile 1024")
        return None
    if options.batch is not None:
        raise ConfigError("tiles are predicted one by one, so there is no batch of pictures", hint="leave out --batch")
    model.task.refuse("tile")
    if not options.whole and (model.task.join is None or model.splitting is not None):
        raise ConfigError("no-whole is for models that find things; label maps are blended", hint="leave out no-whole")
    tiling = Tiling(options.tile, whole=options.whole)
    return tiling if options.tile_overlap is None else replace(tiling, overlap=options.tile_overlap)


def _by_whole(
    folder: OutputFolder[Any],
    model: Predictor,
    source: Source,
    attempts: Generator[Result | DataError, None, None],
    options: Predict,
) -> Iterator[Result | DataError]:
    """What became of each picture, whose result is written; `source` is the model, or it with another."""
    # Closed at once whatever happens, so that no batch is begun that nobody waits for.
    with closing(attempts):
        for outcome in attempts:
            yield outcome if isinstance(outcome, DataError) else _written(folder, model, source, outcome, options)


def _outcomes(
    folder: OutputFolder[Any],
    model: Predictor,
    source: Source,
    pictures: Sequence[Path | TwoDates],
    tiling: Tiling | None,
    move: Callable[[float, int], None],
    options: Predict,
) -> Iterator[Result | DataError | None]:
    """What became of each picture, as it is asked for: whole, by tiles, or by prompts."""
    from everymask.infer.merged import Merged

    if options.prompting:
        return _by_prompts(folder, model, [dates_of(picture)[-1] for picture in pictures], options)
    if tiling is None:
        return _by_whole(folder, model, source, source.attempts(pictures, batch=options.batch), options)
    if isinstance(source, Merged):
        return _by_whole(folder, model, source, source.attempts(pictures, tiling=tiling), options)
    return ByTiles(folder, model, tiling, options.least).outcomes(pictures, move)


def _by_prompts(
    folder: OutputFolder[Any], model: Predictor, pictures: Sequence[Path], options: Predict
) -> Iterator[Result | DataError]:
    """The same of a network that answers prompts."""
    for outcome in options.prompting.answers(model, pictures):
        yield outcome if isinstance(outcome, DataError) else _written(folder, model, model, outcome, options)


def _written(
    folder: OutputFolder[Any], model: Predictor, source: Source, result: Result, options: Predict
) -> Result | DataError:
    from everymask.infer.stream import smaller

    try:
        sure = source.task.keep_sure(result.segmentation, options.least)
        with room_for(result.sample.file, smaller(model)):
            folder.add(result.sample, sure, cut=_is_cut(result, options))
    except DataError as error:
        return error
    return result


def _is_shrunk(result: Result, model: Predictor) -> bool:
    """Whether the model has seen the picture at less than half its size."""
    return 2 * max(model.card.preprocess.resize.size_of(result.sample.size)) < max(result.sample.size)


def _is_cut(result: Result, options: Predict) -> bool:
    """Whether the picture may show more objects that are as sure as asked for."""
    return result.cut_below is not None and result.cut_below >= options.least


@dataclass(slots=True)
class _Scores:
    """How many objects there were of any score, and the surest; `known` where there are scores at all."""

    known: bool = False
    count: int = 0
    surest: float = 0.0

    def add(self, result: Result) -> None:
        scores = getattr(result.segmentation, "scores", None)
        if scores is not None:
            self.known = True
            self.count += scores.size
            self.surest = max(self.surest, float(scores.max(initial=0)))

    def sentence(self, wanted: float) -> str:
        """Why nothing is written."""
        if not self.count:
            return "the model found no object in any picture, whatever its score"
        shown = math.floor(100 * self.surest) / 100
        return (
            f"no object is as sure as --min-score {wanted:g}: the surest of {self.count:,} has the score "
            f"{self.surest:.3f}, so that --min-score {shown:g} shows it"
        )


def _tell_shrunk(count: int, model: Predictor) -> None:
    _log.warning(
        "the model's preprocessing has shrunk %s to less than half their sides; with %s they would keep their own "
        "resolution",
        counted(count, "picture"),
        "--set side=0" if isinstance(model.card.spec, MethodSpec) else "--tile 1024",
    )


def _tell_cuts(folder: OutputFolder[Any], options: Predict) -> None:
    if folder.cut:
        _log.warning(
            "%s may show more objects than the model's limits let through; raise them with --max-detections %s",
            f"{folder.cut:,} of {counted(folder.count, 'picture')}",
            10 * (options.max_detections or 100),
        )


def _answer(
    folder: OutputFolder[Any],
    defects: list[Issue],
    passed_over: Counter[str],
    options: Predict,
    failures: int | None = None,
) -> None:
    """Say what was found, as a line or as JSON, which also has the number of `failures` where not all are listed."""
    if options.json:
        failed = [issue.message for issue in defects]
        found = {"out": str(options.out), "pictures": folder.count, **folder.answer()}
        more = {} if failures is None else {"failures": failures}
        show_json({**found, "failed": failed, **more, "passed_over": dict(passed_over)})
        return
    if folder.count:
        show(f"{folder.sentence()} in {counted(folder.count, 'picture')}: {options.out}")
    if passed_over:
        show(f"passed over: {', '.join(f'{number:,} {what}' for what, number in passed_over.items())}")
