"""Recognising what kind of data set a path holds, and reading it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from everymask.core.memory import many_objects
from everymask.core.segmentation import TaskName
from everymask.data.damage import Look, without_damaged
from everymask.data.damage import decode as decode_whole
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.formats.change.files import looks_like_change_pairs, read_change_pairs, write_change_pairs
from everymask.data.formats.change.layouts import find_folders
from everymask.data.formats.coco.instances import looks_like_coco, read_coco, write_coco
from everymask.data.formats.coco.panoptic import looks_like_coco_panoptic, read_coco_panoptic
from everymask.data.formats.coco.panoptic_writing import write_coco_panoptic
from everymask.data.formats.crowds import Crowds, crowds_as_objects, note_crowds
from everymask.data.formats.cvat.files import looks_like_cvat, read_cvat, write_cvat
from everymask.data.formats.datumaro.files import looks_like_datumaro, read_datumaro, write_datumaro
from everymask.data.formats.finding.archives import is_archive, unpacked
from everymask.data.formats.finding.foreign import address_refused, missing_json, note_passed_over, what_it_is
from everymask.data.formats.finding.maps_beside import guessed_maps, left_alone
from everymask.data.formats.finding.named import exists
from everymask.data.formats.finding.nearby import contents_of, is_bare, nearest
from everymask.data.formats.geojson.files import looks_like_geojson, read_geojson, write_geojson
from everymask.data.formats.imagej.files import looks_like_imagej, read_imagej, write_imagej
from everymask.data.formats.instance_pngs import looks_like_instance_pngs, read_instance_pngs, write_instance_pngs
from everymask.data.formats.label_studio.files import looks_like_label_studio, read_label_studio, write_label_studio
from everymask.data.formats.labelmaps import ade20k, ade20k_objects, cityscapes_instances, image_masks, mapillary
from everymask.data.formats.labelmaps.camvid import looks_like_camvid, read_camvid, write_camvid
from everymask.data.formats.labelmaps.cityscapes import looks_like_cityscapes, read_cityscapes, write_cityscapes
from everymask.data.formats.labelme.files import looks_like_labelme, read_labelme, write_labelme
from everymask.data.formats.mask_files import looks_like_mask_files, read_mask_files, write_mask_files
from everymask.data.formats.open_images.files import looks_like_open_images, read_open_images, write_open_images
from everymask.data.formats.pair_lists import find_pairs
from everymask.data.formats.readings import Reading, judge
from everymask.data.formats.rle_tables.files import looks_like_rle_table, read_rle_table, write_rle_table
from everymask.data.formats.stacks.files import read_tiff_stacks, write_tiff_stacks
from everymask.data.formats.stacks.recognition import looks_like_tiff_stacks
from everymask.data.formats.supervisely.files import looks_like_supervisely, read_supervisely, write_supervisely
from everymask.data.formats.via.files import looks_like_via, read_via, write_via
from everymask.data.formats.voc import semantic as voc_semantic
from everymask.data.formats.voc.objects import looks_like_voc, read_voc, write_voc
from everymask.data.formats.yolo.segments import looks_like_yolo, read_yolo, write_yolo
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import PanopticRule
from everymask.data.splits import without_leaks
from everymask.errors import ConfigError, DataError, printable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of data set: how a path is recognised, what is looked for (for messages), how it is read and written.

    `task` is what its annotations are made for, and `options` what `read` takes besides the policy. `preferred` tells
    where it is read although other formats are recognised too, if its task is asked for. `refuses` is what `write` does
    not take: objects that share pixels (`"overlaps"`), `"crowds"`.
    """

    name: str
    looks_like: Callable[[Path], bool]
    sign: str
    read: Callable[..., Dataset]
    write: Callable[[Path, Dataset], None]
    task: TaskName = "instance"
    options: frozenset[str] = frozenset()
    preferred: Callable[[Path], bool] | None = None
    refuses: frozenset[str] = frozenset()


_MAPS = frozenset({"decode"})
_IMAGES = frozenset({"images"})
_FLAT = frozenset({"overlaps", "crowds"})
_CHOICES = {"images": "a folder of images", "masks": "a folder of masks", "mask_threshold": "a threshold of masks"}
"""What some formats take that others have no use for."""
FORMATS = (
    Format(
        "coco",
        looks_like_coco,
        "a .json file with images, annotations and categories",
        read_coco,
        write_coco,
        options=frozenset({"images", "crowds"}),
    ),
    Format("yolo", looks_like_yolo, "a data.yaml, or images/ beside labels/ with .txt files", read_yolo, write_yolo),
    Format(
        "labelme",
        looks_like_labelme,
        ".json files with shapes and imagePath, one per picture",
        read_labelme,
        write_labelme,
    ),
    Format(
        "voc",
        looks_like_voc,
        "JPEGImages/ with SegmentationObject/ or Annotations/*.xml",
        read_voc,
        write_voc,
        refuses=_FLAT,
    ),
    Format(
        "mask-files",
        looks_like_mask_files,
        "<id>/images/ with <id>/masks/, one file per object",
        read_mask_files,
        write_mask_files,
        refuses=frozenset({"crowds"}),
    ),
    Format(
        "ade20k-objects",
        ade20k_objects.looks_like_ade20k_objects,
        "pictures with X_seg.png and X_atr.txt (or X.json) beside them",
        ade20k_objects.read_ade20k_objects,
        ade20k_objects.write_ade20k_objects,
        refuses=_FLAT,
    ),
    Format(
        "mapillary",
        mapillary.looks_like_mapillary,
        "training/images/ with training/v2.0/instances/, and config_v2.0.json",
        mapillary.read_mapillary,
        mapillary.write_mapillary,
        "panoptic",
    ),
    Format(
        "instance-pngs",
        looks_like_instance_pngs,
        "pictures with maps of object numbers, such as images/ with masks/",
        read_instance_pngs,
        write_instance_pngs,
        options=frozenset({"masks"}),
        refuses=_FLAT,
    ),
    Format(
        "cvat",
        looks_like_cvat,
        "annotations.xml of CVAT for images or for video",
        read_cvat,
        write_cvat,
        options=_IMAGES,
    ),
    Format(
        "label-studio",
        looks_like_label_studio,
        "a .json file with Label Studio's list of tasks",
        read_label_studio,
        write_label_studio,
        options=_IMAGES,
    ),
    Format(
        "via", looks_like_via, "a .json or .csv file of VIA, the VGG annotator", read_via, write_via, options=_IMAGES
    ),
    Format(
        "supervisely",
        looks_like_supervisely,
        "meta.json beside folders with img/ and ann/",
        read_supervisely,
        write_supervisely,
    ),
    Format(
        "rle-csv",
        looks_like_rle_table,
        "a .csv file with columns such as ImageId and EncodedPixels",
        read_rle_table,
        write_rle_table,
        options=_IMAGES,
    ),
    Format(
        "geojson",
        looks_like_geojson,
        "a .geojson file in pixels for each picture",
        read_geojson,
        write_geojson,
        options=_IMAGES,
    ),
    Format(
        "imagej",
        looks_like_imagej,
        "a .zip of ImageJ's ROIs for each picture",
        read_imagej,
        write_imagej,
        options=_IMAGES,
    ),
    Format(
        "open-images",
        looks_like_open_images,
        "a .csv file with the columns MaskPath, ImageID and LabelName",
        read_open_images,
        write_open_images,
        options=_IMAGES,
    ),
    Format(
        "datumaro",
        looks_like_datumaro,
        "annotations/*.json of Datumaro, with categories and items",
        read_datumaro,
        write_datumaro,
        options=_IMAGES,
    ),
    Format(
        "tiff-stacks",
        looks_like_tiff_stacks,
        "pictures with TIFF files of several pages, a mask on each",
        read_tiff_stacks,
        write_tiff_stacks,
        refuses=frozenset({"crowds"}),
    ),
    Format("camvid", looks_like_camvid, "train/ with trainannot/", read_camvid, write_camvid, "semantic", _MAPS),
    Format(
        "cityscapes-instances",
        cityscapes_instances.looks_like_cityscapes_instances,
        "leftImg8bit/ with *_instanceIds.png in gtFine/",
        cityscapes_instances.read_cityscapes_instances,
        cityscapes_instances.write_cityscapes_instances,
        "panoptic",
        preferred=cityscapes_instances.has_cityscapes_instances,
    ),
    Format(
        "cityscapes",
        looks_like_cityscapes,
        "leftImg8bit/ with gtFine/",
        read_cityscapes,
        write_cityscapes,
        "semantic",
        _MAPS,
    ),
    Format(
        "ade20k",
        ade20k.looks_like_ade20k,
        "annotations/training/ with objectInfo150.txt",
        ade20k.read_ade20k,
        ade20k.write_ade20k,
        "semantic",
        _MAPS,
    ),
    Format(
        "voc-semantic",
        voc_semantic.looks_like_voc_semantic,
        "SegmentationClass/ alone",
        voc_semantic.read_voc_semantic,
        voc_semantic.write_voc_semantic,
        "semantic",
        _MAPS,
        voc_semantic.has_class_maps,  # which know where there is no truth; objects do not
    ),
    Format(
        "image-masks",
        image_masks.looks_like_image_masks,
        "pictures with maps of classes, such as images/ with masks/",
        image_masks.read_image_masks,
        image_masks.write_image_masks,
        "semantic",
        frozenset({"decode", "masks", "mask_threshold"}),
    ),
    Format(
        "coco-panoptic",
        looks_like_coco_panoptic,
        "a .json file with segments_info, beside a folder of PNGs",
        read_coco_panoptic,
        write_coco_panoptic,
        "panoptic",
        frozenset({"images", "decode"}),
    ),
    Format(
        "change-pairs",
        looks_like_change_pairs,
        "A/ and B/ (before/ and after/, ...) with label/",
        read_change_pairs,
        write_change_pairs,
        "change",
        frozenset({"decode", "masks", "mask_threshold"}),
    ),
)
"""The formats in the order in which they are tried."""
_NAME_IT = "name the folder or file that holds pictures and annotations: docs/data.md shows how they may lie"
_BY_CONTENT = ("instance-pngs", "camvid", "image-masks")
"""Those whose layout says nothing about what the maps hold."""
_OTHER: dict[Reading, Reading] = {"objects": "classes", "classes": "objects"}


@many_objects()
def read_dataset(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    task: TaskName | None = None,
    images: str | Path | None = None,
    policy: Policy = "strict",
    crowds: Crowds = "as-marked",
    masks: str | Path | None = None,
    mask_threshold: int | None = None,
    rule: PanopticRule | None = None,
    decode: bool = False,
    look: Look = decode_whole,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read an annotated data set: a folder, an annotation file or an archive, recognised unless `format` names it.

    With `task` "semantic" the truth is a label map: where a folder has maps of classes and objects, the former are
    read, and otherwise label maps are painted from the objects. With "instance" label maps are refused
    (`Dataset.for_task`). With "panoptic" objects and label maps become segments by a `rule`.

    `images` is the folder of pictures, where it is not beside an annotation file (of COCO, CVAT ...). With
    `crowds="as-objects"` what is marked as a crowd (COCO's iscrowd, Pascal VOC's difficult) is an object like the
    others. A picture that lies in two splits is an error; with `policy="skip"` it stays in the last of them, so that no
    score is taken on pictures trained on.

    `masks` is the folder of the label maps, or its name, where there are several beside the pictures. Masks of two grey
    levels that a lossy format or smoothed edges have blurred are divided midway, or at `mask_threshold` (1-255).

    Of the pictures only the headers are read, and of label maps too where the format says what they hold. With `decode`
    every picture and label map is decoded, which finds those that are cut off or damaged, or hold what stands for no
    class, and takes about as long as one look at all of them; `progress(done, total)` is called after each picture, and
    `look(file, size)` is what decodes it, for who wants to see it then.

    Maps that may hold classes or objects are told apart by `readings`; where both fit and one is likelier, it is taken
    with a warning, unless `task` asks for the other.

    `DataError` where nothing is recognised (saying what was looked for and found), where maps may as well hold classes
    as objects, and for every defect; `ConfigError` for an unknown `format`, and for label maps that were to be objects.
    """
    noted = IssueLog(policy)
    root = _found(path, noted)
    chosen, masks = (format_named(format), masks) if format is not None else _recognised(root, task, noted, masks)
    given: dict[str, object] = {"images": images, "masks": masks, "mask_threshold": mask_threshold}
    _check_choices(given, chosen, root)
    given |= {"decode": decode, "crowds": crowds}
    options = {name: given[name] for name in chosen.options}
    found = chosen.read(root, policy=policy, **options)
    found = crowds_as_objects(found) if crowds == "as-objects" else found
    note_crowds(found, noted)
    note_passed_over((record.image.parent for record in found.records), noted)
    dataset = found.for_task(task, rule=rule)
    if dataset.coding is not None:
        _log.info("%s: %s", printable(root), dataset.coding.sentence(dataset.labels))
    kept = without_leaks(dataset, noted)
    if decode:
        kept = without_damaged(kept, noted, look=look, progress=progress)
    return replace(kept, issues=(*kept.issues, *noted.finish(printable(root))))


def _found(path: str | Path, issues: IssueLog) -> Path:
    """The file or folder of a data set, which is unpacked where it is an archive; `DataError` where there is none."""
    root = Path(path)
    if not exists(root):
        address_refused(path)
        raise DataError(f"{printable(root)}: there is no such file or folder")
    return unpacked(root, issues) if root.is_file() and is_archive(root) and not find_formats(root) else root


def _check_choices(given: Mapping[str, object], chosen: Format, root: Path) -> None:
    """`ConfigError` where something is given that belongs to other formats."""
    for name, what in _CHOICES.items():
        if given[name] is not None and name not in chosen.options:
            taking = ", ".join(known.name for known in FORMATS if name in known.options)
            raise ConfigError(
                f"{what} belongs to files of {taking}, but {printable(root)} is read as {chosen.name}",
                hint=f"leave out --{name.replace('_', '-')}, or say which of these formats it is: --format",
            )


def write_dataset(folder: str | Path, dataset: Dataset, format: str) -> None:  # noqa: A002
    """Write a data set, pictures included, in another format; in those for label maps, objects are painted.

    Pictures that are not annotated are left out with a logged warning that counts them.

    `ConfigError` for an unknown `format` and where label maps are to become objects, `DataError` for what the format
    cannot hold.
    """
    chosen = format_named(format)
    annotated = for_format(dataset, format).annotated()
    if len(annotated) < len(dataset):
        _log.warning("%s", not_annotated(len(dataset) - len(annotated)))
    chosen.write(Path(folder), annotated)


def for_format(dataset: Dataset, format: str) -> Dataset:  # noqa: A002
    """The data set with the truth that a format holds: objects, which the things of panoptic maps are too, or label
    maps that are painted of them.

    `ConfigError` for an unknown `format` and where label maps are to become objects; `DataError` where boxes are to
    become label maps.
    """
    chosen = format_named(format)
    hint = "choose image-masks, or another format of label maps"
    return dataset.for_task(chosen.task, why=f"{chosen.name} holds objects", hint=hint)


def find_formats(path: Path) -> list[Format]:
    """The formats that a path looks like, the one that is taken first."""
    return [candidate for candidate in FORMATS if candidate.looks_like(path)]


def format_named(name: str) -> Format:
    """The format of that name; `ConfigError` where there is none."""
    for candidate in FORMATS:
        if candidate.name == name.replace("_", "-"):
            return candidate
    raise ConfigError(f"there is no format {name!r}; the formats are {', '.join(known.name for known in FORMATS)}")


def _recognised(
    root: Path, task: TaskName | None, issues: IssueLog, masks: str | Path | None
) -> tuple[Format, str | Path | None]:
    """The format, and the folder of the label maps, where that was asked for or no name says it."""
    if masks is not None:
        if any(part.labels is not None for part in find_folders(root, masks)):
            return format_named("change-pairs"), masks
        return _by_content(root, (), task, issues, masks), masks
    found = _by_names(root, task, issues)
    if found is not None:
        return found, None
    if beside := guessed_maps(root, issues):
        return _by_content(root, (), task, issues, beside), beside
    raise _unknown(root)


def _by_names(root: Path, task: TaskName | None, issues: IssueLog) -> Format | None:
    for known in FORMATS:
        if known.preferred is not None and known.task == task and known.preferred(root):
            return known
    found = sorted(find_formats(root), key=lambda known: task is not None and known.task != task)
    if found and found[0].name in _BY_CONTENT:
        return _by_content(root, found, task, issues)
    if len(found) > 1:
        others = ", ".join(other.name for other in found[1:])
        _log.warning("%s is read as %s; it looks like %s too (choose with --format)", root, found[0].name, others)
    if found:
        return found[0]
    if root.suffix.lower() == ".json" and not what_it_is(root)[0]:
        return format_named("coco")  # whose reader says what is wrong with the file
    return None


def _by_content(
    root: Path,
    found: Sequence[Format],
    task: TaskName | None,
    issues: IssueLog,
    masks: str | Path | None = None,
) -> Format:
    """The format for maps of objects, or for maps of classes: what they hold decides, and the task where both fit."""
    judged = judge(root, find_pairs(root, IssueLog("skip"), masks))
    objects, classes = format_named("instance-pngs"), format_named("image-masks")
    reading = judged.best
    if task == objects.task and judged.fits("objects"):
        reading = "objects"
    elif task == classes.task and reading is None:
        reading = "classes"
    if reading is None:
        raise DataError(
            f"{printable(root)}: the label maps may hold objects or classes, and nothing says which; "
            f"{judged.candidates()}",
            hint=f"choose with --format {objects.name} or --format {classes.name}; a table of classes (classes.csv) "
            "beside the maps says it for good",
        )
    semantic = next((known for known in found if known.task == classes.task), classes)
    chosen, other = (objects, semantic) if reading == "objects" else (semantic, objects)
    if judged.both and chosen.task != task:
        message = f"the label maps are read as {reading}, but could hold {_OTHER[reading]}; {judged.candidates()}"
        issues.warn("two-readings", message, file=root, hint=f"choose with --format {other.name}")
        _log.warning("%s: %s (choose with --format)", printable(root), message)
    return chosen


def _unknown(root: Path) -> DataError:
    """The error for what no format knows: what was looked for and found, and which folder nearby would do."""
    near = nearest(root, find_formats)
    hint = f"did you mean {printable(near[0])} ({near[1]})?" if near else missing_json(root)
    lonely = left_alone(root)
    unpaired = [issue for issue in lonely.noted() if issue.severity == "error"]
    if unpaired:
        message = f"{printable(root)}: it is not clear which label map belongs to which picture"
        return DataError(message, hint=hint, issues=unpaired, total=lonely.total("error"))
    found, cure = what_it_is(root)
    what = contents_of(root) + (f": {found}" if found else "")
    message = f"{printable(root)}: no known data set; {what}"
    if hint or cure or is_bare(root):
        return DataError(message, hint=hint or cure or _NAME_IT)
    looked_for = "".join(f"\n    {known.name}: {known.sign}" for known in FORMATS)
    return DataError(f"{message}. Looked for:{looked_for}", hint=_NAME_IT)
