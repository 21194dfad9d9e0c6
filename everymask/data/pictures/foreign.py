"""Files that are no picture that is read, told by their endings, and what to do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from everymask.errors import printable

Kind = tuple[str, str]
"""What a file is, and what to do with it."""

_VIDEO: Kind = ("a video", "write its frames as pictures: ffmpeg -i FILE frames/%06d.png")
_VOLUME: Kind = ("a volume (a stack of slices)", "everymask reads pictures: export the slices as PNG or TIFF files")
_HEIC: Kind = ("AVIF or HEIC", "convert it to PNG or JPEG")
_RAW: Kind = ("a camera's raw picture", "develop it to TIFF or JPEG")
_DRAWING: Kind = ("a document or drawing", "export its pictures as PNG")
_SLIDE: Kind = ("a whole-slide picture", "export the level that is needed as TIFF")
_ARCHIVE: Kind = ("an archive of a kind that is not read", "unpack it, and name the folder")
_ARRAYS: Kind = (
    "a file of arrays or rows",
    "export the pictures and masks as files: PNG, TIFF or .npy, one per picture",
)
_MODEL: Kind = ("a model or another program's objects", "name the folder of pictures and annotations")
_BY_ENDING: dict[str, Kind] = (
    dict.fromkeys((".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"), _VIDEO)
    | dict.fromkeys((".nii", ".nii.gz", ".dcm", ".dicom", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".lif"), _VOLUME)
    | dict.fromkeys((".heic", ".heif", ".avif"), _HEIC)
    | dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), _RAW)
    | dict.fromkeys((".svg", ".pdf", ".psd", ".eps", ".ai"), _DRAWING)
    | dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".vsi"), _SLIDE)
    | dict.fromkeys((".7z", ".rar", ".gz", ".zst", ".bz2", ".xz"), _ARCHIVE)
    | dict.fromkeys((".npz", ".mat", ".h5", ".hdf5", ".parquet", ".arrow", ".tfrecord", ".tfrecords", ".mdb"), _ARRAYS)
    | dict.fromkeys((".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".emz", ".pkl", ".pickle"), _MODEL)
)
PICTURES_OF_OTHERS = (_VIDEO, _VOLUME, _HEIC, _RAW, _SLIDE)
"""The kinds that show something, as pictures do: that they are passed over is worth a word."""


def foreign_kind(file: Path) -> Kind | None:
    """What a file is by its ending, where that is nothing that is read."""
    name = file.name.lower()
    endings = ["." + name.split(".", start)[-1] for start in range(name.count("."), 0, -1)]
    return next((_BY_ENDING[ending] for ending in reversed(endings) if ending in _BY_ENDING), None)


def passed_over(names: Iterable[str]) -> tuple[int, str]:
    """How many of these files show something in a form that is not read, and a sentence that counts them by kind."""
    endings = {ending.rpartition(".")[2] for ending in _BY_ENDING}
    some = (Path(name) for name in names if name.rpartition(".")[2].lower() in endings)
    kinds = Counter(kind for kind in map(foreign_kind, some) if kind in PICTURES_OF_OTHERS)
    listed = "; ".join(f"{count:,} x {what}: {cure}" for (what, cure), count in kinds.most_common() if what)
    return sum(kinds.values()), printable(listed, 400)
