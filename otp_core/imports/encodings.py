"""Which encoding a file is in: by its byte order mark, by the NULs of UTF-16, by whether it is UTF-8, else CP932.

Pure but for the file that it is given to read. What is told apart for certain is taken; what is not has to be named.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from otp_core.imports.table import is_text
from otp_core.imports.worded import Worded, worded
from otp_core.model import Encoding

_CHUNK = 1 << 20
_MARKED = "sekisho.undecodable"
UNDECODABLE = "\udcff"
"""Stands for octets that are none in the encoding: a lone surrogate, which no decoder makes."""


_MARKS = (
    (codecs.BOM_UTF8, Encoding.UTF_8),
    (codecs.BOM_UTF16_LE, Encoding.UTF_16_LE),
    (codecs.BOM_UTF16_BE, Encoding.UTF_16_BE),
)
_ALSO = {
    "utf-8-sig": Encoding.UTF_8,
    "ascii": Encoding.UTF_8,
    "shift_jis": Encoding.CP932,
    "iso8859-1": Encoding.CP1252,
    "euc_jp": Encoding.EUC_JP,
}
_FORMS = (
    (b"PK\x03\x04", worded("an Excel workbook, or another archive: save the sheet as CSV UTF-8")),
    (b"\xd0\xcf\x11\xe0", worded("an old Excel workbook: save the sheet as CSV UTF-8")),
    (b"\x1f\x8b", worded("compressed: gunzip it first")),
    (b"%PDF", worded("a PDF")),
    (b"{\\rtf", worded("a text with formats: save it as plain text")),
    (b"-----BEGIN PGP", worded("encrypted: gpg -d FILE | sekisho … import -")),
)


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return UNDECODABLE, error.end


codecs.register_error(_MARKED, _mark)


def encoding_of(file: BinaryIO) -> Encoding:
    """The encoding of a file, which is read from its beginning: that of its byte order mark; UTF-16 if every second
    octet of its beginning is NUL; UTF-8 if all of it is; CP932 if all of it is; otherwise the one of these two of which
    fewer lines are wrong (an export that cuts names after so many octets halves a letter)."""
    file.seek(0)
    head = file.read(4)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    nul = [not octet for octet in head]
    if nul[:2] == [False, True] and nul[3:] in ([True], []):
        return Encoding.UTF_16_LE
    if nul[:2] == [True, False] and nul[2:3] in ([True], []):
        return Encoding.UTF_16_BE
    either = (Encoding.UTF_8, Encoding.CP932)
    return next((one for one in either if _is(file, one)), None) or min(either, key=lambda one: _wrong_lines(file, one))


def _wrong_lines(file: BinaryIO, encoding: Encoding) -> int:
    return sum(not is_text(line) for line in lines_of(file, encoding))


def encoding_named(name: str) -> Encoding | None:
    """The encoding that a name means, as Python and operators have it; None for UTF-16 without a byte order, which the
    file itself has to tell. Raises ValueError for one that is not read here."""
    try:
        canonical = codecs.lookup(name).name
    except LookupError:
        canonical = ""
    if canonical == "utf-16":
        return None
    try:
        return Encoding(_ALSO.get(canonical, canonical))
    except ValueError:
        raise ValueError(f"write one of utf-16, {', '.join(Encoding)}") from None


def foreign_form(file: BinaryIO) -> Worded | None:
    """What a file is that holds no lines of text, by its first octets; None for any other."""
    file.seek(0)
    head = file.read(8)
    return next((form for octets, form in _FORMS if head.startswith(octets)), None)


LONGEST_LINE = 1 << 18
"""Characters. More than a reader of rows takes in one cell, so it says that the line is wrong."""


def lines_of(file: BinaryIO, encoding: Encoding) -> Iterator[str]:
    """The lines of a file from its beginning, with their ends. Octets that are none in this encoding come as
    UNDECODABLE. Of a line that is longer than LONGEST_LINE comes the beginning alone. The file stays open."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, _MARKED, newline="")
    try:
        while line := text.readline(LONGEST_LINE):
            yield line
            while len(line) == LONGEST_LINE and line[-1] not in "\r\n":
                line = text.readline(LONGEST_LINE)
    finally:
        text.detach()


def _is(file: BinaryIO, encoding: Encoding) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := file.read(_CHUNK):
            if not is_text(decoder.decode(chunk)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
