"""Bundles: a network's graph and all that is needed to predict with it, in one file (docs/bundle.md)."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import everymask
from everymask.core.files import whole_file
from everymask.core.json.sealed import sealed, unsealed
from everymask.core.json.values import value_of
from everymask.errors import WeightsError, printable
from everymask.models.card import Card

SUFFIX = ".emz"
FORMAT, VERSION = "everymask-bundle", 1
DESCRIPTION, GRAPH, ANSWERING = "bundle.json", "model.onnx", "answers.onnx"
RuntimeName: TypeAlias = Literal["onnxruntime", "openvino"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
GraphPrecision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]

_MOST_DESCRIPTION = 1 << 24
_MOST_PARTS = 16
_ENCRYPTED = 0x1
_AGAIN = "copy it again, or export it again"


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """How the graph is to be run.

    `precision` is what its convolutions are calculated in, `runtime` the one in which it was checked, `batch` "any" or
    "one": one picture at a time, with its window.
    """

    precision: GraphPrecision = "fp32"
    runtime: RuntimeName = "onnxruntime"
    batch: Literal["any", "one"] = "any"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds.

    `check` says how the graph was compared with the network that it was made of, `made_from` what that learned from;
    both are for people, and plain JSON values. Of a network that answers prompts, `graph` looks at a picture, and
    `answering` is the graph that answers; others have none.
    """

    card: Card
    graph: bytes
    facts: GraphFacts
    check: Mapping[str, Any] = field(default_factory=dict)
    made_from: Mapping[str, Any] = field(default_factory=dict)
    answering: bytes = b""

    @property
    def graphs(self) -> dict[str, bytes]:
        """The graphs by the names of their parts."""
        return {GRAPH: self.graph} | ({ANSWERING: self.answering} if self.answering else {})


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a whole bundle, or none; the same bundle gives the same bytes."""
    facts = {name: getattr(bundle.facts, name) for name in ("precision", "runtime", "batch")}
    graphs = bundle.graphs
    parts = {name: {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()} for name, graph in graphs.items()}
    description = sealed(
        {
            "format": FORMAT,
            "version": VERSION,
            "written_by": f"everymask {everymask.__version__}",
            "card": bundle.card.to_json(),
            "graph": facts,
            "check": dict(bundle.check),
            "made_from": dict(bundle.made_from),
            "parts": parts,
        }
    )
    text = json.dumps(description, ensure_ascii=True, allow_nan=False, indent=1).encode()
    with (
        whole_file(path, len(text) + sum(map(len, graphs.values()))) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, data in ({DESCRIPTION: text} | graphs).items():
            # Without a date: the same content is the same file.
            archive.writestr(zipfile.ZipInfo(name), data)


def is_bundle(path: str | Path) -> bool:
    """Whether a path is called like a bundle."""
    return Path(path).suffix.lower() == SUFFIX


def read_bundle(path: str | Path) -> Bundle:
    """What `write_bundle` wrote, every part compared with its hash.

    `WeightsError` where there is no such file, and where it is no bundle, damaged, tampered with, or written by a newer
    everymask. Nothing is unpacked: parts are stored as they are, so that none is larger than the file.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"there is no bundle {printable(file)}")
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file)
            description = _description(archive, members, file)
            parts = _parts(description, members, file)
            graphs = {name: archive.read(name) for name in parts}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise WeightsError(f"{printable(file)} is not a whole bundle: {printable(error)}", hint=_AGAIN) from error
    for name, graph in graphs.items():
        if hashlib.sha256(graph).hexdigest() != parts[name]:
            raise WeightsError(f"{printable(file)} is damaged: {name} does not match its hash", hint=_AGAIN)
    facts = _value(GraphFacts, description.get("graph", {}), "graph", file)
    check, made_from = (description.get(name, {}) for name in ("check", "made_from"))
    if not isinstance(check, dict) or not isinstance(made_from, dict):
        raise WeightsError(f"{printable(file)}: check and made_from must be objects", hint=_AGAIN)
    card = Card.from_json(description.get("card"))
    return Bundle(card, graphs[GRAPH], facts, check, made_from, graphs.get(ANSWERING, b""))


def _members(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """The parts by name; `WeightsError` unless they are stored as they are, few, each once, and no folders."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        stored = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
        if not stored or member.flag_bits & _ENCRYPTED:
            raise WeightsError(
                f"{printable(file)}: {printable(member.filename)} is compressed or encrypted, which parts of a bundle "
                "never are",
                hint=_AGAIN,
            )
        if member.filename in found or member.is_dir() or len(found) == _MOST_PARTS:
            raise WeightsError(f"{printable(file)}: {printable(member.filename)} is one part too many", hint=_AGAIN)
        found[member.filename] = member
    if sum(member.file_size for member in found.values()) > file.stat().st_size:
        raise WeightsError(f"{printable(file)}: its parts overlap", hint=_AGAIN)
    return found


def _description(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], file: Path) -> dict[str, Any]:
    if DESCRIPTION not in members:
        raise WeightsError(
            f"{printable(file)} is no bundle: there is no {DESCRIPTION} in it",
            hint="everymask export RUN --out model.emz writes one",
        )
    if members[DESCRIPTION].file_size > _MOST_DESCRIPTION:
        raise WeightsError(f"{printable(file)}: {DESCRIPTION} is larger than {_MOST_DESCRIPTION:,} bytes")
    try:
        found = json.loads(archive.read(DESCRIPTION))
        _refuse_foreign(found, file)
        return unsealed(found)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{printable(file)}: {DESCRIPTION} is damaged: {printable(error)}", hint=_AGAIN) from error


def _refuse_foreign(found: object, file: Path) -> None:
    """`WeightsError` where something else, or a newer version, has written the description."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise WeightsError(f"{printable(file)} is no bundle: its {DESCRIPTION} does not say {FORMAT}")
    version = found.get("version")
    if type(version) is not int or version < 1:
        raise WeightsError(f"{printable(file)}: the version of the bundle is {printable(version)!r}, which is none")
    if version > VERSION:
        raise WeightsError(
            f"{printable(file)} was written by {printable(found.get('written_by', '?'))} in form {version}, but this "
            f"everymask reads form {VERSION}",
            hint="upgrade with pip",
        )


def _parts(description: Mapping[str, Any], members: Mapping[str, zipfile.ZipInfo], file: Path) -> dict[str, str]:
    """The hashes of the parts by name; `WeightsError` unless the file holds just the parts that it lists."""
    listed = _value(Mapping[str, Mapping[str, int | str]], description.get("parts"), "parts", file)
    if set(listed) != set(members) - {DESCRIPTION} or GRAPH not in listed:
        raise WeightsError(
            f"{printable(file)} holds {printable(', '.join(sorted(members)))}, but lists "
            f"{printable(', '.join(sorted(listed)))}",
            hint=_AGAIN,
        )
    for name, about in listed.items():
        if about.get("bytes") != members[name].file_size:
            raise WeightsError(f"{printable(file)} is damaged: {printable(name)} has another length", hint=_AGAIN)
    return {name: str(about.get("sha256")) for name, about in listed.items()}


def _value(kind: Any, value: Any, where: str, file: Path) -> Any:
    try:
        return value_of(kind, value, where)
    except ValueError as error:
        raise WeightsError(f"{printable(file)}: {printable(error)}", hint=_AGAIN) from error
