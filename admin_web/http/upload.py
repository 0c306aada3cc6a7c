"""A form with one file (multipart/form-data, RFC 7578), read part by part and never more than may come: the fields,
as our pages send them first, then the file, into memory and never onto a disk.

Nothing of the file is read before whoever asks has looked at the fields.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from aiohttp import BodyPartReader, web
from aiohttp.helpers import parse_mimetype
from aiohttp.http_exceptions import HttpProcessingError

from admin_web.http.security import MAX_BODY_BYTES, MAX_FIELD, MAX_FIELDS

UPLOAD_SECONDS = 300.0
"""For the whole of it: 20 MB over a slow line."""

LONGEST_NAME = 120
"""Characters of a file's name that are kept, those at its end."""

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file as the browser has sent it, in memory. ``name``: without a folder; empty if none was chosen."""

    name: str
    content: BinaryIO = field(repr=False)


class FileTooLarge(Exception):
    """The file is longer than it may be; the fields in front of it were right."""


async def upload_of(
    request: web.Request, most: int, check: Callable[[Mapping[str, str]], None]
) -> tuple[dict[str, str], UploadedFile]:
    """The fields of a form by name, and its file. ``most``: octets of the file; ``check`` is given the fields before
    any of the file is read, and raises what it does not accept. Of several fields of one name the first counts.

    Raises FileTooLarge; HTTPBadRequest for what is no such form, or breaks off; HTTPRequestEntityTooLarge for more
    than MAX_FIELDS, or one of more than MAX_FIELD characters, as in a form without a file."""
    fields: dict[str, str] = {}
    if request.content_type != "multipart/form-data":
        check(fields)
        raise web.HTTPBadRequest
    try:
        await _begins_with_its_boundary(request)
        reader = await request.multipart()
        for _ in range(MAX_FIELDS):
            part = await reader.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise web.HTTPBadRequest
            if part.filename is None:
                fields.setdefault(part.name, await _field(part))
                continue
            check(fields)
            return fields, UploadedFile(_bare(part.filename), await _read(part, most))
        else:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, MAX_BODY_BYTES + 1)
    except (ValueError, HttpProcessingError, web.RequestPayloadError, ConnectionError):
        raise web.HTTPBadRequest from None
    check(fields)
    return fields, UploadedFile("", io.BytesIO())


async def _begins_with_its_boundary(request: web.Request) -> None:
    """aiohttp looks for the first boundary line by line, however much stands in front of it: 19 MB of short lines took
    the process 40 s. No browser sends any (RFC 2046 section 5.1.1 has it ignored). Raises HTTPBadRequest."""
    first = await request.content.readline()
    boundary = parse_mimetype(request.headers["Content-Type"]).parameters.get("boundary", "")
    if first.rstrip() != b"--" + boundary.encode():
        raise web.HTTPBadRequest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        request.content.unread_data(first)  # as aiohttp's own reader does


async def _field(part: BodyPartReader) -> str:
    with suppress(FileTooLarge):  # of a field that is too long nothing is known, not even that it is ours
        text = (await _read(part, 4 * MAX_FIELD)).getvalue().decode("utf-8", "replace")
        if len(text) <= MAX_FIELD:
            return text
    raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, MAX_BODY_BYTES + 1)


async def _read(part: BodyPartReader, most: int) -> io.BytesIO:
    found = io.BytesIO()
    while chunk := await part.read_chunk(_CHUNK):
        if found.tell() + len(chunk) > most:
            raise FileTooLarge
        found.write(chunk)
    return found


def _bare(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].strip()[-LONGEST_NAME:] or name[:1]
