"""`everymask serve`: trained models that answer over HTTP."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands.batch.options import weights_of
from everymask.commands.options import Running, load_predictor
from everymask.commands.running.fastest import load_in_fastest
from everymask.core.files import is_there
from everymask.errors import ConfigError, printable, require

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor
    from everymask.serving.settings import Settings
    from everymask.serving.shelf import Origin, Shelf

_MILLION = 1_000_000
_DIGITS = 12
_TRIED = 4


# As Running: Python cannot derive a class from two that have slots.
@dataclass(frozen=True, kw_only=True)
class Serve(Running):
    """Answer over HTTP with trained models: predictions in many forms, and a page to drop pictures on.

    Who cannot be answered in time is refused at once. Ctrl-C or SIGTERM end it when all that was accepted is answered;
    SIGHUP loads models anew whose files have changed. docs/serving.md says more.
    """

    models: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="MODELS")] = ()
    """Run folders, .safetensors files or names of `everymask models`, each perhaps as NAME=MODEL; the first is the one
    that is meant where a request names none."""
    canary: str | None = None
    """A model that is tried beside one of those, as NAME=MODEL, or MODEL beside the first."""
    canary_share: float = 0.1
    """The share of the requests for that name which it answers."""
    host: str = "127.0.0.1"
    """Where to listen: this machine alone, unless told; 0.0.0.0 is for everybody who reaches it."""
    port: int = 8080
    """The port; 0 is any that is free."""
    budget: float = 10.0
    """Within so many seconds an answer is worth something: who would wait longer is refused at once."""
    batch: int | None = None
    """How many pictures of one size are calculated together; otherwise 1, and up to 8 on a GPU."""
    workers: int | None = None
    """How many threads calculate; otherwise as many as are fastest."""
    max_megabytes: int = 32
    """The largest picture file."""
    max_megapixels: int = 64
    """The largest picture, which is known before it is decoded."""
    session_megabytes: int = 1024
    """How much memory the sessions with prompts may take together; those go first that were asked least lately."""
    keys: Path | None = None
    """A file with a key on each line, perhaps as NAME KEY: only who sends one is answered."""
    origin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A web page of another server that may ask from a browser (CORS), such as https://tool.example. Again for more."""
    label_studio: str = ""
    """The address of Label Studio, below which its pictures are fetched; its token is LABEL_STUDIO_API_KEY in the
    environment."""
    max_detections: int | None = None
    """The most objects per picture, and as many proposals as that needs; otherwise what the model was trained for."""
    duplicate_iou: float | None = None
    """Of objects that overlap by more than this IoU, whatever their classes, keep the surest; otherwise all, as in
    Python."""


def run(options: Serve) -> None:
    """Load the models, listen, say where, and answer until told to end."""
    for module in ("starlette", "uvicorn", "python_multipart"):
        require(module, "serve")
    settings, origins = _settings(options), _origins(options)
    from everymask.serving.running import listen, serve
    from everymask.serving.service import Service

    # Taken before anything is loaded, so that a port in use is known at once.
    with listen(options.host, options.port) as listening:
        service = Service(settings, _shelf(options, settings, origins))
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"http://{shown}:{port}/ answers with {', '.join(service.shelf.slots)}; Ctrl-C ends it\n")
        sys.stdout.flush()
        serve(service, listening)


def _settings(options: Serve) -> Settings:
    from everymask.serving.settings import Settings

    if not options.models:
        raise ConfigError("serve needs a model", hint="for example: everymask serve runs/a")
    if options.canary is not None and not 0 < options.canary_share < 1:
        raise ConfigError(f"canary-share must lie between 0 and 1, but got {options.canary_share:g}")
    keys = {} if options.keys is None else _keys(options.keys)
    if not keys and not _is_local(options.host):
        sys.stderr.write("warning: everybody who reaches this port may ask; --keys FILE wants a key of them\n")
    return Settings(
        budget=options.budget,
        max_body=options.max_megabytes << 20,
        max_pixels=options.max_megapixels * _MILLION,
        max_sessions=options.session_megabytes << 20,
        batch=options.batch,
        workers=options.workers,
        keys=keys,
        origins=options.origin,
        label_studio=options.label_studio.rstrip("/"),
        label_studio_token=os.environ.get("LABEL_STUDIO_API_KEY", ""),
    )


def _origins(options: Serve) -> list[Origin]:
    origins = [_origin(word, options) for word in options.models]
    twice = [name for name, count in Counter(origin.name for origin in origins).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two models would be called {printable(twice[0])!r}", hint="name them: everymask serve a=runs/a b=other/a"
        )
    return origins


def _origin(word: str, options: Serve) -> Origin:
    from everymask.serving.shelf import Origin

    name, sign, source = word.partition("=")
    if not sign or is_there(Path(word)):
        source, path = word, Path(word)
        name = path.stem if path.suffix == ".safetensors" else path.resolve().name
    if not name or not source or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise ConfigError(
            f"a model is asked by letters, digits, '-', '_' and '.', but got {printable(name)!r}",
            hint="name it: everymask serve cells=runs/a",
        )
    return Origin(name, source, partial(_load, source, options), partial(_digest, source))


def _load(source: str, options: Serve) -> Predictor:
    from everymask.serving.shelf import trial_picture

    model = load_predictor(source, options)
    if model.card.preprocess.dates == 1:
        trial = [trial_picture(model)] * _TRIED
        model = load_in_fastest(source, options, trial, partial(load_predictor, source), model, worth=_TRIED)
    if options.max_detections is not None:
        model = model.with_detections(options.max_detections)
    return model if options.duplicate_iou is None else model.without_duplicates(options.duplicate_iou)


def _digest(source: str) -> str:
    """What tells one version of a model from another: of its file's digest, or its name in the catalogue."""
    return weights_of(source)[:_DIGITS] if is_there(Path(source)) else source


def _shelf(options: Serve, settings: Settings, origins: list[Origin]) -> Shelf:
    from everymask.serving.shelf import Shelf

    canary = None if options.canary is None else _origin(options.canary, options)
    named = options.canary is not None and "=" in options.canary
    beside = canary.name if canary is not None and named else origins[0].name
    if canary is not None and beside not in [origin.name for origin in origins]:
        raise ConfigError(
            f"the canary is tried beside {printable(beside)!r}, but there is no such model",
            hint=f"name one of {', '.join(origin.name for origin in origins)}: --canary {origins[0].name}=MODEL",
        )
    shelf = Shelf(settings.max_pixels)
    for origin in origins:
        tried = replace(canary, name=beside) if canary is not None and origin.name == beside else None
        shelf.add(origin, tried, options.canary_share)
    return shelf


def _keys(file: Path) -> dict[str, str]:
    """Keys by the names of those who hold them; of those without a name, by their place."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{printable(file)} cannot be read as a list of keys: {error}") from error
    keys: dict[str, str] = {}
    for place, words in enumerate((line.split() for line in lines if line.strip() and not line.startswith("#")), 1):
        if len(words) > 2:
            raise ConfigError(f"{printable(file)}: expected KEY or NAME KEY, but line {place} has {len(words)} words")
        keys[words[0] if len(words) > 1 else f"key-{place}"] = words[-1]
    if not keys:
        raise ConfigError(f"{printable(file)} has no key in it", hint="write one on each line, long and at random")
    return keys


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
