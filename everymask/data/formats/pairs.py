"""Which pictures belong to which label maps: the one pairing for maps of classes and maps of object numbers.

    images/X.jpg          masks/X.png            two folders whose names say what they hold; masks/X_mask.png too
    train/images/X.jpg    train/masks/X.png      splits above the two folders, below them, or in their names
    train/X.png           trainannot/X.png       as in CamVid; train_masks/ too
    imagesTr/X_0000.png   labelsTr/X.png         as in nnU-Net
    X.jpg                 X_mask.png             side by side; X_img.png + X_masks.png, X.tif + X_cp_masks.png too
    X.jpg                 X.png                  side by side and of one name
    train.txt, val.txt                           a picture and a label map per line, or names (`pair_lists`)

Nothing here looks at what the maps hold, but for two questions that names leave open: which of X.tif and X.png is the
map, and whether a folder of another name holds maps too. Where several folders of maps lie beside the pictures, none is
taken before one is chosen.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.formats.finding.named import SPELLING, respelled
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in, split_of
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among, read_image, read_label_map
from everymask.errors import DataError, MachineError, printable

PICTURE_FOLDERS = (
    "images", "image", "imgs", "img", "img_dir", "pictures", "frames", "input", "inputs", "jpegimages", "pngimages",
    "original_images", "701_stillsraw_full",
)  # fmt: skip
_CLEAR_MAP_FOLDERS = (
    "masks", "mask", "labels", "label", "label_maps", "labelmaps", "annotations", "annotation", "ann_dir", "annot",
    "gt", "segmentation", "segmentations", "gtfine", "label_images_semantic", "labeledapproved_full", "pedmasks",
    "instance_masks",
)  # fmt: skip
"""Names that mean label maps in every context; of the others, restoration knows pictures called target."""
MAP_FOLDERS = (
    *_CLEAR_MAP_FOLDERS, "ground_truth", "groundtruth", "targets", "target", "semantic", "instances", "instance",
)  # fmt: skip
_CLEAR_MAP_ENDINGS = (
    "mask", "masks", "label", "labels", "labelmap", "gt", "seg", "segmentation", "annotation", "instance", "instances",
    "cp_masks",
)  # fmt: skip
MAP_ENDINGS = (*_CLEAR_MAP_ENDINGS, "lab", "l")
PICTURE_ENDINGS = ("image", "img", "sat", "rgb", "picture", "frame", "0000")
LOSSY = (".jpg", ".jpeg", ".jpe", ".webp", ".jp2", ".j2k", ".mpo")
"""Endings of formats in which no label map survives."""
_NNUNET = {"imagestr": ("pictures", "train"), "labelstr": ("maps", "train"), "imagests": ("pictures", "test"),
           "labelsts": ("maps", "test")}  # fmt: skip
_DEPTH = 4
SAMPLED = 3
FLAT = 0.8
FEW = 32
Name: TypeAlias = tuple[Path, str]
"""A file's folder below the one that is searched, and its name without ending."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture, its label file, and the split that both belong to."""

    picture: Path
    map: Path
    split: str | None = None


def named_pairs(root: Path, issues: IssueLog) -> list[Pair]:
    """The pictures below `root` with their label maps, by the names of folders and files.

    `issues` is told about files that stay alone, and where several folders of label maps lie beside one of pictures.
    """
    found = _map_folders(root, MAP_FOLDERS)
    if found:
        pairs: list[Pair] = []
        for pictures, maps in found:
            rivals = [folder for folder in maps if shares_names(pictures, folder)] or maps[:1]
            rivals += _maps_of_other_names(pictures, maps)
            if len(rivals) > 1:
                _report_rivals(pictures, rivals, issues)
            else:
                pairs += match_folders(root, pictures, rivals[0], issues)
        return pairs
    return list(_suffix_pairs(root, MAP_ENDINGS, issues)) or list(_same_name_pairs(root, issues))


def chosen_pairs(root: Path, masks: str | Path, issues: IssueLog) -> list[Pair]:
    """The pictures below `root` with the label maps of the folders called `masks`; `DataError` where there are none."""
    wanted = Path(masks)
    known = [folder for folder in _folders_below(root) if pictures_among(files_below(folder, 0))]
    maps = [folder for folder in known if folder == wanted or folder.name == str(masks) or folder == root / wanted]
    pairs: list[Pair] = []
    for folder in maps:
        beside = [other for other in known if other.parent == folder.parent and other != folder]
        named = [other for other in beside if _kind(other) in (("pictures", ""), ("pictures", _split_in_name(folder)))]
        sharing = named or [other for other in beside if shares_names(other, folder)]
        if len(sharing) == 1:
            pairs += match_folders(root, sharing[0], folder, issues)
    if not pairs and not issues.total("error"):
        listed = ", ".join(sorted({printable(folder.relative_to(root)) for folder in known})) or "none"
        raise DataError(
            f"{printable(root)}: no folder of label maps called {printable(masks)} lies beside one of pictures",
            hint=f"the folders with pictures or maps are {listed}",
        )
    return pairs


def _folders_below(folder: Path, depth: int = 2) -> Iterator[Path]:
    for below in folders_in(folder) if folder.is_dir() else ():
        yield below
        if depth:
            yield from _folders_below(below, depth - 1)


def unmistakable_pairs(root: Path) -> list[Pair]:
    """The pictures with label maps in a folder where no name could mean anything else; files are not opened."""
    issues = IssueLog("skip")
    pairs: list[Pair] = []
    for pictures, maps in (found := _map_folders(root, _CLEAR_MAP_FOLDERS)):
        for folder in maps:
            pairs += match_folders(root, pictures, folder, issues)
    pairs = pairs if found else list(_suffix_pairs(root, _CLEAR_MAP_ENDINGS, issues))
    return pairs if len(pairs) >= issues.total("error") else []


def match_folders(root: Path, picture_folder: Path, map_folder: Path, issues: IssueLog) -> Iterator[Pair]:
    """Pictures and label maps of the same folder below the two, and of the same name but for endings."""
    maps, pictures = files_by_name(map_folder, issues), files_by_name(picture_folder, issues)
    named = _one_ending(pictures, maps) or _any_ending(pictures, maps) or _one_start(pictures, maps)
    named |= _spelled_otherwise(pictures, maps, named, issues)
    for name, picture in pictures.items():
        split = split_of(picture, root) or _split_in_name(picture_folder)
        if name in named:
            if unicodedata.is_normalized("NFC", picture.stem) != unicodedata.is_normalized("NFC", named[name].stem):
                issues.warn_shared("name-spelling", SPELLING, file=named[name])
            yield Pair(picture, named[name], split)
        elif split == "test":
            issues.warn("unlabelled", "a test picture without a label map is left out", file=picture)
        else:
            message = f"the picture has no label map in {printable(map_folder.name)}/"
            hint = f"expected {picture.stem}.png or {picture.stem}_mask.png; where nothing is shown, a map of zeros"
            if re.search(r"_000[1-9]$", name[1]) and (name[0], f"{name[1][:-1]}0") in pictures:
                hint = f"it is another channel of {name[1][:-1]}0 (nnU-Net): join the channels of a case in one TIFF"
            issues.error("mask-missing", message, file=picture, hint=hint)
    taken = set(named.values())
    for lonely in maps.values():
        if lonely not in taken:
            message = f"the label map belongs to no picture in {printable(picture_folder.name)}/"
            issues.error("picture-missing", message, file=lonely, hint="name it like its picture, or remove it")


def shared_maps(pairs: Sequence[Pair], issues: IssueLog) -> set[Path]:
    """The label maps that belong to more than one picture, each an error."""
    owners = Counter(pair.map for pair in pairs)
    shared = sorted(file for file, count in owners.items() if count > 1)
    for file in shared:
        issues.error("mask-repeated", "the label map belongs to more than one picture", file=file)
    return set(shared)


def files_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """The files of a folder and of those in it, by name."""
    yield from files_in(folder)
    if depth and folder.is_dir():
        for below in folders_in(folder):
            yield from files_below(below, depth - 1)


def _kind(folder: Path, map_folders: tuple[str, ...] = MAP_FOLDERS) -> tuple[str, str] | None:
    """Whether a folder's name says `pictures` or `maps`, and the split that it says beside that."""
    name = folder.name.lower()
    kinds = (("pictures", PICTURE_FOLDERS), ("maps", map_folders))
    for kind, names in kinds:
        if name in names:
            return kind, ""
    if name in _NNUNET:
        return _NNUNET[name]
    if name.removesuffix("annot") in SPLIT_FOLDERS:
        return "pictures" if name in SPLIT_FOLDERS else "maps", SPLIT_FOLDERS[name.removesuffix("annot")]
    first, *rest = re.split(r"[-_ ]", name)
    for split, word in ((first, "_".join(rest)), ((rest or [""])[-1], "_".join([first, *rest[:-1]]))):
        if split in SPLIT_FOLDERS:
            for kind, names in kinds:
                if word in names:
                    return kind, SPLIT_FOLDERS[split]
    return None


def _map_folders(root: Path, map_folders: tuple[str, ...]) -> list[tuple[Path, list[Path]]]:
    """Each folder of pictures with the folders of label maps beside it; all of them have pictures in them."""
    listed: list[tuple[Path, list[Path]]] = []
    splits = [folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS] if root.is_dir() else []
    for base in (root, *splits) if root.is_dir() else ():
        found: dict[tuple[str, str], list[Path]] = {}
        for folder in folders_in(base):
            if kind := _kind(folder, map_folders):
                found.setdefault(kind, []).append(folder)
        for (what, split), folders in found.items():
            maps = [folder for folder in found.get(("maps", split), []) if pictures_among(files_below(folder))]
            if what == "pictures" and maps:
                # A folder called train is one of pictures only where none is called train_images.
                listed.append((max(folders, key=lambda folder: folder.name.lower() not in SPLIT_FOLDERS), maps))
    return listed


def files_by_name(folder: Path, issues: IssueLog) -> dict[Name, Path]:
    """The pictures in a folder by their names; two of one name are an error, the first one is kept."""
    found: dict[Name, Path] = {}
    for file in pictures_among(files_below(folder)):
        name = file.parent.relative_to(folder), _stem(file)
        if name in found:
            message = f"two pictures of one name: this and {printable(found[name].name)}"
            issues.error("repeated-picture", message, file=file, hint="rename or remove one of them")
        found.setdefault(name, file)
    return found


def _one_ending(pictures: Mapping[Name, Path], maps: Mapping[Name, Path]) -> dict[Name, Path]:
    """The map of each picture where one and the same ending (or none) joins all pictures and all maps; else empty."""
    endings: dict[str, dict[Name, Path]] = {"": dict(maps)}
    for (place, stem), file in maps.items():
        bare = _without_ending(stem, MAP_ENDINGS)
        if bare != stem:
            endings.setdefault(stem.replace(bare, "/", 1), {})[place, bare] = file
    whole = (named for named in endings.values() if named.keys() == pictures.keys() and len(named) == len(maps))
    return next(whole, {})


def _any_ending(pictures: Mapping[Name, Path], maps: Mapping[Name, Path]) -> dict[Name, Path]:
    """The map of each picture that has one under its own name, or else with an ending on either side."""
    by_ending: dict[Name, Path] = {}
    for (place, stem), label_map in maps.items():
        by_ending.setdefault((place, _without_ending(stem, MAP_ENDINGS)), label_map)
    named = {}
    for place, stem in pictures:
        bare = _without_ending(stem, PICTURE_ENDINGS)
        found = maps.get((place, stem)) or by_ending.get((place, stem)) or by_ending.get((place, bare))
        if found is not None:
            named[place, stem] = found
    return named


def _one_start(pictures: Mapping[Name, Path], maps: Mapping[Name, Path]) -> dict[Name, Path]:
    """The map of each picture by what stands before the last word of both names, where that tells all of them apart."""
    starts = {(place, _start(stem)): name for name in pictures for place, stem in (name,)}
    others = {(place, _start(stem)): file for (place, stem), file in maps.items()}
    if len(starts) < len(pictures) or len(others) < len(maps):
        return {}
    return {name: others[start] for start, name in starts.items() if start in others}


def _spelled_otherwise(
    pictures: Mapping[Name, Path], maps: Mapping[Name, Path], named: Mapping[Name, Path], issues: IssueLog
) -> dict[Name, Path]:
    """The maps of pictures without one whose names differ from theirs only in letter case."""
    lonely = [name for name in pictures if name not in named]
    taken = set(named.values())
    left = {name: file for name, file in maps.items() if file not in taken} if lonely else {}
    bare = {(place, _without_ending(stem, MAP_ENDINGS)): file for (place, stem), file in left.items()}
    found = respelled(bare if len(bare) == len(left) else left, lonely, issues)
    return {name: found[name] for name in lonely if name in found}


def _suffix_pairs(root: Path, endings: tuple[str, ...], issues: IssueLog) -> Iterator[Pair]:
    """Label maps beside their pictures: in the root and in folders named after splits."""
    for base in _with_splits(root):
        files = pictures_among(files_in(base))
        bare = {file: _without_ending(_stem(file), endings) for file in files}
        maps: dict[str, list[Path]] = {}
        for file, name in bare.items():
            if name != _stem(file):
                maps.setdefault(name, []).append(file)
        pictures = [file for file in files if bare[file] == _stem(file)]
        if not any(_without_ending(_stem(file), PICTURE_ENDINGS) in maps or _stem(file) in maps for file in pictures):
            continue
        for picture in pictures:
            name = _stem(picture) if _stem(picture) in maps else _without_ending(_stem(picture), PICTURE_ENDINGS)
            if maps.get(name):
                yield Pair(picture, maps[name].pop(0), split_of(picture, root))
            else:
                hint = f"expected {picture.stem}_mask.png"
                issues.error("mask-missing", "the picture has no label map beside it", file=picture, hint=hint)
        for file in (file for lonely in maps.values() for file in lonely):
            hint = "name it like its picture, with _mask at the end; a picture has one label map"
            issues.error("picture-missing", "the label map belongs to no picture", file=file, hint=hint)


def _same_name_pairs(root: Path, issues: IssueLog) -> Iterator[Pair]:
    """Two files of one name, of which one is a picture and the other a label map, where most names have two."""
    for base in _with_splits(root):
        files: dict[str, list[Path]] = {}
        for file in pictures_among(files_in(base)):
            files.setdefault(_stem(file), []).append(file)
        twins = [found for found in files.values() if len(found) == 2]
        kinds = {tuple(file.suffix.lower() for file in found) for found in twins}
        if len(kinds) != 1 or 2 * len(twins) <= len(files):
            continue
        flat = [np.mean([flatness(found[side]) for found in twins[:SAMPLED]]) for side in (0, 1)]
        lossy = [suffix in LOSSY for suffix in next(iter(kinds))]
        side = lossy.index(False) if lossy.count(True) == 1 else int(flat[1] > flat[0])
        if all(lossy) or flat[side] < FLAT:
            continue
        yield from (Pair(found[1 - side], found[side], split_of(found[side], root)) for found in twins)
        for file in (file for found in files.values() if len(found) != 2 for file in found):
            message = "the file has no partner of its name, while the others are pictures with label maps"
            issues.error("mask-missing", message, file=file)


def _with_splits(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [root, *(folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS)]


def _maps_of_other_names(pictures: Path, known: list[Path]) -> list[Path]:
    """Folders beside the pictures whose names say nothing, and whose files look like label maps of these pictures."""
    others = [folder for folder in folders_in(pictures.parent) if folder not in (pictures, *known)]
    strangers = [folder for folder in others if _kind(folder) is None and folder.name.lower() not in SPLIT_FOLDERS]
    return [folder for folder in strangers if shares_names(pictures, folder) and _looks_like_maps(folder)]


def shares_names(pictures: Path, other: Path) -> bool:
    """Whether at least half of the pictures have a file in the other folder of their name but for endings."""
    names = {_stem(file) for file in pictures_among(files_below(pictures))}
    others = {_stem(file) for file in pictures_among(files_below(other))}
    starts = {_start(name) for name in names}
    if len(starts) == len(names):  # else what stands before the last word does not tell pictures apart
        names, others = starts, {_start(name) for name in others} | others
    bare = others | {_without_ending(name, MAP_ENDINGS) for name in others}
    return 2 * len(names & bare) >= len(names)


def _looks_like_maps(folder: Path) -> bool:
    maps = flat_maps(folder)
    return maps is not None and have_few(maps)


def flat_maps(folder: Path) -> list[IntArray] | None:
    """The numbers in the first files of a folder; None where one of them is no map of plain areas."""
    maps = []
    for file in pictures_among(files_below(folder))[:SAMPLED]:
        if flatness(file) < FLAT:
            return None
        try:
            maps.append(read_label_map(file))
        except (DataError, MachineError):
            return None
    return maps


def have_few(maps: Sequence[IntArray]) -> bool:
    """Whether each of the maps has so few numbers as classes have."""
    return all(len(np.unique(ids)) <= FEW for ids in maps)


def flatness(file: Path) -> float:
    """The share of pixels that equal their right neighbour; 0 where the file cannot be read."""
    try:
        pixels = read_image(file)
    except (DataError, MachineError):
        return 0.0
    return float((pixels[:, 1:] == pixels[:, :-1]).all(axis=2).mean()) if pixels.shape[1] > 1 else 1.0


def _report_rivals(pictures: Path, rivals: list[Path], issues: IssueLog) -> None:
    named = " and ".join(f"{printable(folder.name)}/" for folder in rivals)
    message = f"{len(rivals)} folders of label maps belong to these pictures: {named}"
    hint = "choose one: " + " or ".join(f"--masks {printable(folder.name)}" for folder in rivals)
    issues.error("several-map-folders", message, file=pictures, hint=hint)


def _stem(file: Path) -> str:
    """The name without ending, in the one form of letters with accents: file systems differ in it."""
    return unicodedata.normalize("NFC", file.stem)


def _start(stem: str) -> str:
    """The name without its last word."""
    return re.sub(r"[-_. ][^-_. ]*$", "", stem)


def _without_ending(stem: str, endings: tuple[str, ...]) -> str:
    """The name without one of the words at its end or beginning, as img_1 of img_1_mask and 1 of mask-1."""
    words = "|".join(endings)
    found = re.fullmatch(rf"(?:{words})[-_. ](.+)|(.+?)[-_. ](?:{words})", stem, re.IGNORECASE)
    return (found.group(1) or found.group(2)) if found else stem


def _split_in_name(folder: Path) -> str | None:
    kind = _kind(folder)
    return kind[1] or None if kind else None
