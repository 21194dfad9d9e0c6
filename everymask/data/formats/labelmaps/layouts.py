"""Where pictures and their label maps lie: two folders, endings of names, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in, read_lines, split_of
from everymask.data.formats.labelmaps.files import Pair
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among
from everymask.errors import printable

PICTURE_FOLDERS = (
    "images", "image", "imgs", "img", "img_dir", "pictures", "frames", "input", "inputs", "jpegimages", "pngimages",
    "original_images", "701_stillsraw_full",
)  # fmt: skip
_CLEAR_MAP_FOLDERS = (
    "masks", "mask", "labels", "label", "label_maps", "labelmaps", "annotations", "annotation", "ann_dir", "annot",
    "gt", "segmentation", "segmentations", "gtfine", "label_images_semantic", "labeledapproved_full",
)  # fmt: skip
"""Names that mean label maps in every context; of the others, restoration knows pictures called target."""
MAP_FOLDERS = (*_CLEAR_MAP_FOLDERS, "ground_truth", "groundtruth", "targets", "target", "semantic")
_CLEAR_MAP_ENDINGS = ("mask", "masks", "label", "labels", "labelmap", "gt", "seg", "segmentation", "annotation")
MAP_ENDINGS = (*_CLEAR_MAP_ENDINGS, "lab", "l")
PICTURE_ENDINGS = ("image", "img", "sat", "rgb", "picture", "frame")
_LIST_SUFFIXES = (".txt", ".lst", ".csv")
_DEPTH = 4


def has_label_layout(root: Path) -> bool:
    """Whether the folder holds pictures with label maps in one of the layouts, judged by names alone."""
    issues = IssueLog("skip")
    pairs = find_pairs(root, issues) if root.is_dir() else []
    return bool(pairs) and len(pairs) >= issues.total("error")


def unmistakable_pairs(root: Path) -> list[Pair]:
    """The pictures with label maps in a folder where no name could mean anything else; lists do not count."""
    issues = IssueLog("skip")
    pairs = _named_pairs(root, _CLEAR_MAP_FOLDERS, _CLEAR_MAP_ENDINGS, issues)
    return pairs if len(pairs) >= issues.total("error") else []


def find_pairs(root: Path, issues: IssueLog) -> list[Pair]:
    """The pictures below `root` with their label maps; `issues` is told about files that stay alone.

    Lists with a picture and a label map per line go first, then folders of pictures beside folders of label maps, then
    label maps that lie beside their pictures under the picture's name with an ending such as _mask.
    """
    listed = find_listed_pairs(root, issues)
    if listed:
        return listed
    pairs = _named_pairs(root, MAP_FOLDERS, MAP_ENDINGS, issues)
    return _split_by_lists(root, pairs, issues) if not any(pair.split for pair in pairs) else pairs


def _named_pairs(root: Path, folders: tuple[str, ...], endings: tuple[str, ...], issues: IssueLog) -> list[Pair]:
    """The pairs whose label maps lie in `folders`, or where there are none, have `endings`."""
    found = list(_folder_pairs(root, folders))
    if found:
        return [pair for pictures, maps in found for pair in match_folders(root, pictures, maps, issues)]
    return list(_suffix_pairs(root, endings, issues))


def table_folders(root: Path, pairs: list[Pair]) -> list[Path]:
    """The folders in which a table of classes may lie: the root, then those of the label maps, then their parents."""
    places = [root]
    for pair in pairs[:1]:
        places += [pair.map.parent, pair.map.parent.parent]
    return list(dict.fromkeys(place for place in places if place == root or root in place.parents))


def files_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """The files of a folder and of those in it, by name."""
    yield from files_in(folder)
    if depth and folder.is_dir():
        for below in folders_in(folder):
            yield from files_below(below, depth - 1)


def _is_picture(file: Path) -> bool:
    return bool(pictures_among([file]))


def _kind(folder: Path, map_folders: tuple[str, ...] = MAP_FOLDERS) -> tuple[str, str] | None:
    """Whether a folder's name says `pictures` or `maps`, and what else it says (such as a split)."""
    name = folder.name.lower()
    kinds = (("pictures", PICTURE_FOLDERS), ("maps", map_folders))
    for kind, names in kinds:
        if name in names:
            return kind, ""
    first, *rest = re.split(r"[-_ ]", name)
    for split, word in ((first, "_".join(rest)), ((rest or [""])[-1], "_".join([first, *rest[:-1]]))):
        if split in SPLIT_FOLDERS:
            for kind, names in kinds:
                if word in names:
                    return kind, split
    return None


def _folder_pairs(root: Path, map_folders: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    splits = [folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS]
    for base in (root, *splits):
        found: dict[tuple[str, str], Path] = {}
        for folder in folders_in(base):
            if kind := _kind(folder, map_folders):
                found.setdefault(kind, folder)
        for (what, rest), folder in found.items():
            maps = found.get(("maps", rest))
            if what == "pictures" and maps is not None and any(map(_is_picture, files_below(maps))):
                yield folder, maps


def match_folders(root: Path, picture_folder: Path, map_folder: Path, issues: IssueLog) -> Iterator[Pair]:
    """Pictures and label maps of the same folder below the two, and of the same name but for endings."""
    maps: dict[tuple[Path, str], Path] = {}
    for file in pictures_among(files_below(map_folder)):
        key = (file.parent.relative_to(map_folder), file.stem)
        if key in maps:
            _repeated(file, maps[key], issues)
        maps.setdefault(key, file)
    by_ending: dict[tuple[Path, str], Path] = {}
    for (place, stem), label_map in maps.items():
        by_ending.setdefault((place, _without_ending(stem, MAP_ENDINGS)), label_map)
    taken: set[Path] = set()
    seen: dict[tuple[Path, str], Path] = {}
    for picture in pictures_among(files_below(picture_folder)):
        place = picture.parent.relative_to(picture_folder)
        if (place, picture.stem) in seen:
            _repeated(picture, seen[place, picture.stem], issues)
            continue
        seen[place, picture.stem] = picture
        bare = _without_ending(picture.stem, PICTURE_ENDINGS)
        names = (maps.get((place, picture.stem)), by_ending.get((place, picture.stem)), by_ending.get((place, bare)))
        found = next((name for name in names if name is not None), None)
        split = split_of(picture, root) or _split_in_name(picture_folder)
        if found is not None:
            taken.add(found)
            yield Pair(picture, found, split)
        elif split == "test":
            issues.warn("unlabelled", "a test picture without a label map is left out", file=picture)
        else:
            message = f"the picture has no label map in {printable(map_folder.name)}/"
            hint = f"expected {picture.stem}.png or {picture.stem}_mask.png"
            issues.error("mask-missing", message, file=picture, hint=hint)
    for lonely in maps.values():
        if lonely not in taken:
            message = f"the label map belongs to no picture in {printable(picture_folder.name)}/"
            issues.error("picture-missing", message, file=lonely, hint="name it like its picture, or remove it")


def _suffix_pairs(root: Path, endings: tuple[str, ...], issues: IssueLog) -> Iterator[Pair]:
    """Label maps beside their pictures: in the root and in folders named after splits."""
    splits = [folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS]
    for base in (root, *splits):
        files = pictures_among(files_in(base))
        bare = {file: _without_ending(file.stem, endings) for file in files}
        maps = {name: file for file, name in bare.items() if name != file.stem}
        pictures = [file for file in files if bare[file] == file.stem]
        if not any(_without_ending(file.stem, PICTURE_ENDINGS) in maps or file.stem in maps for file in pictures):
            continue
        for picture in pictures:
            name = picture.stem if picture.stem in maps else _without_ending(picture.stem, PICTURE_ENDINGS)
            if name in maps:
                yield Pair(picture, maps.pop(name), split_of(picture, root))
            else:
                hint = f"expected {picture.stem}_mask.png"
                issues.error("mask-missing", "the picture has no label map beside it", file=picture, hint=hint)
        for file in maps.values():
            hint = "name it like its picture, with _mask at the end"
            issues.error("picture-missing", "the label map belongs to no picture", file=file, hint=hint)


def _without_ending(stem: str, endings: tuple[str, ...]) -> str:
    """The name without one of the words at its end or beginning, as img_1 of img_1_mask and 1 of mask-1."""
    words = "|".join(endings)
    found = re.fullmatch(rf"(?:{words})[-_. ](.+)|(.+)[-_. ](?:{words})", stem, re.IGNORECASE)
    return (found.group(1) or found.group(2)) if found else stem


def _split_in_name(folder: Path) -> str | None:
    kind = _kind(folder)
    return SPLIT_FOLDERS.get(kind[1]) if kind else None


def _repeated(file: Path, other: Path, issues: IssueLog) -> None:
    message = f"two pictures of one name: this and {printable(other.name)}"
    issues.error("repeated-picture", message, file=file, hint="rename or remove one of them")


def find_listed_pairs(root: Path, issues: IssueLog) -> list[Pair]:
    """The pairs in the lists in `root` that have two paths per line; a list's name says the split."""
    pairs: list[Pair] = []
    owners: dict[Path, str] = {}
    files = [file for file in files_in(root) if file.suffix.lower() in _LIST_SUFFIXES]
    for file in sorted(files, key=lambda file: (file.stem.lower() not in SPLIT_FOLDERS, file.name)):
        lines = [(number, re.split(r"[\s,;]+", line)) for number, line in read_lines(file, IssueLog("skip"))]
        if not lines or not all(len(words) == 2 and _is_file_name(words) for _, words in lines):
            continue
        read_lines(file, issues)
        split = SPLIT_FOLDERS.get(file.stem.lower())
        for number, words in lines:
            where = f"line {number}"
            picture, label_map = (_below(root, word, file, where, issues) for word in words)
            if picture is None or label_map is None:
                continue
            if picture in owners and split is None:
                continue  # trainval.txt and the like repeat other lists
            if picture in owners:
                same = owners[picture] == file.name
                message = "the picture stands twice in the list" if same else f"the picture is in {owners[picture]} too"
                code, hint = ("list-repeated", "") if same else ("split-leak", "remove it from one of the lists")
                issues.error(code, message, file=file, where=where, value=words[0], hint=hint)
                continue
            owners[picture] = file.name
            pairs.append(Pair(picture, label_map, split))
    return pairs


def _is_file_name(words: list[str]) -> bool:
    return all(_is_picture(Path(word)) for word in words)


def _below(root: Path, word: str, file: Path, where: str, issues: IssueLog) -> Path | None:
    """The file that a list names; where a list was written on another machine, the end of the path is looked for."""
    path = PurePosixPath(word.replace("\\", "/"))
    parts = path.parts
    if not path.is_absolute() and ".." not in parts and not re.match(r"[A-Za-z]:", word):
        if (root / path).is_file():
            return root / path
        issues.error("picture-missing", "the list names a file that is not there", file=file, where=where, value=word)
        return None
    for start in range(1, len(parts)) if ".." not in parts else ():
        tail = PurePosixPath(*parts[start:])
        if (root / tail).is_file():
            message = "{count} paths in lists lead elsewhere; the files of these names in this folder are taken"
            issues.warn_shared("list-path", message, file=file)
            return root / tail
    hint = "write paths relative to the list's folder"
    issues.error("list-path", "expected a path below this folder", file=file, where=where, value=word, hint=hint)
    return None


def _split_by_lists(root: Path, pairs: list[Pair], issues: IssueLog) -> list[Pair]:
    """The pairs with the splits that lists of names (train.txt, val.txt, ...) give, where there are such lists."""
    names = {pair.picture.stem: place for place, pair in enumerate(pairs)}
    owners: dict[int, str] = {}
    for folder in (root, root / "splits", root / "ImageSets" / "Segmentation"):
        for file in files_in(folder):
            split = SPLIT_FOLDERS.get(file.stem.lower())
            if file.suffix.lower() not in _LIST_SUFFIXES or split is None:
                continue
            for number, line in read_lines(file, issues):
                stem = PurePosixPath(line.replace("\\", "/")).name
                stem = Path(stem).stem if _is_picture(Path(stem)) else stem
                place, where = names.get(stem), f"line {number}"
                if place is None:
                    message = "the list names a picture that is not there"
                    issues.error("picture-missing", message, file=file, where=where, value=line)
                elif place in owners:
                    same = owners[place] == split
                    message = f"the picture stands in {owners[place]} already"
                    code = "list-repeated" if same else "split-leak"
                    issues.error(code, message, file=file, where=where, value=line, hint="remove one of the lines")
                else:
                    owners[place] = split
    if not owners:
        return pairs
    left_out = [pair.picture for place, pair in enumerate(pairs) if place not in owners]
    if left_out:
        message = f"{len(left_out)} pictures are left out: no list names them"
        issues.warn("not-listed", message, file=root, value=left_out[0])
    return [Pair(pair.picture, pair.map, owners[place]) for place, pair in enumerate(pairs) if place in owners]
