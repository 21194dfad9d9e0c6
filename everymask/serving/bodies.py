"""Reading what a client sends: no more than allowed, no longer than allowed, and nothing that it does not say it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from everymask.errors import printable
from everymask.serving.problems import Problem

_SOME = 100
_PICTURE_HINT = 'send the picture as the body (curl --data-binary @photo.jpg) or as a form (curl -F "file=@photo.jpg")'


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The whole body.

    `Problem`: 413 above `most` bytes, 408 after so many `seconds`, 415 where it is packed, 400 where it is empty.
    """
    check_length(request, most)
    async with _in_time(seconds):
        data = b"".join([piece async for piece in _pieces(request, most)])
    if not data:
        raise Problem(400, "empty", "the request has no body", hint=_PICTURE_HINT)
    return data


async def read_picture(request: Request, most: int, seconds: float) -> tuple[bytes, str]:
    """The bytes of the one picture that the request brings, and what it is called; `Problem` as in `read_body`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with read_form(request, most, seconds, files=1) as form:
            files = uploads(form)
            if not files:
                raise Problem(400, "no-file", "the form has no file", hint=_PICTURE_HINT)
            data = await files[0].read()
            if not data:
                raise Problem(400, "empty", "the file is empty", hint=_PICTURE_HINT)
            return data, picture_name(files[0].filename)
    if kind == "application/json" or kind.startswith(("text/", "audio/", "video/")):
        raise Problem(415, "media-type", f"expected a picture, but got {printable(kind, 60)}", hint=_PICTURE_HINT)
    return await read_body(request, most, seconds), "picture"


@asynccontextmanager
async def read_form(request: Request, most: int, seconds: float, *, files: int) -> AsyncIterator[FormData]:
    """The fields of a form with up to so many `files`; large ones lie in temporary files, which are then removed."""
    check_length(request, most)
    parser = MultiPartParser(request.headers, _pieces(request, most), max_files=files, max_fields=_SOME)
    async with _in_time(seconds):
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, UnicodeError, ValueError) as error:
            said = getattr(error, "message", "") or str(error)
            raise Problem(400, "form", f"the form cannot be read: {printable(said)}", hint=_PICTURE_HINT) from error
    try:
        yield form
    finally:
        await form.close()


def uploads(form: FormData) -> list[UploadFile]:
    """The files of a form, whatever their fields are called."""
    return [value for _, value in form.multi_items() if isinstance(value, UploadFile)]


def picture_name(name: str | None) -> str:
    """The last part of a file name without its ending: what a client calls its picture is never used as a path."""
    return printable(PurePosixPath((name or "").replace("\\", "/")).stem or "picture", 120)


def check_length(request: Request, most: int) -> None:
    """`Problem` for a body that is announced as too long, or as packed."""
    packed = request.headers.get("content-encoding", "identity").lower()
    if packed != "identity":
        raise Problem(415, "content-encoding", f"expected a body as it is, but it is packed ({printable(packed, 40)})")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_long(most)


async def _pieces(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise _too_long(most)
            yield piece
    except ClientDisconnect as error:
        raise Problem(499, "gone", "the client left before all was sent") from error


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Problem(
            408, "slow-body", f"the body was not here after {seconds:g} s", hint="send a smaller picture"
        ) from error


def _too_long(most: int) -> Problem:
    return Problem(
        413, "too-large", f"the body has more than {most:,} bytes", hint="send a smaller picture, or as JPEG"
    )
