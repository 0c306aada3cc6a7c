"""The file of an export: written under another name and put in its place when it is whole and on the disk; read as it
was written, compressed (gzip) or not. Bounded: nothing of it is in memory but one piece.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from otp_core.seals.export import ExportProblem

_GZIP = b"\x1f\x8b"
_LEVEL = 5
"""Of zlib: behind it a file gets hardly smaller, and takes much longer."""

_AT_ONCE = 1 << 20


def write_compressed(path: Path, lines: Iterable[str], *, replace: bool) -> str:
    """Write lines into a file, compressed, mode 0600; the SHA-256 of the file in hexadecimal. It has its name only when
    it is whole and on the disk. Raises FileExistsError, unless ``replace``, OSError, and what ``lines`` raises."""
    if path.exists() and not replace:
        raise FileExistsError(f"{path} is there already: name another file, or give --replace")
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        try:
            digest = _write(file, lines)
            if not _is_at(file, new):
                raise FileExistsError(f"another export to {path} was begun meanwhile: name another file")
            if replace:
                new.replace(path)
            else:
                os.link(new, path)  # which fails if somebody else has made it meanwhile
                new.unlink()
        except BaseException:
            if _is_at(file, new):
                new.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest


def _write(file: BinaryIO, lines: Iterable[str]) -> str:
    digesting = _Digesting(file)
    with (
        gzip.GzipFile("", "wb", _LEVEL, cast(BinaryIO, digesting), mtime=0) as compressed,
        io.BufferedWriter(cast(io.RawIOBase, compressed), _AT_ONCE) as buffered,
    ):
        for line in lines:
            buffered.write(line.encode("ascii"))
    file.flush()
    os.fsync(file.fileno())
    return digesting.hexdigest()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether it is still this file that lies there: another export to the same name takes away what is half done."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def opened(file: BinaryIO) -> Iterator[BinaryIO]:
    """What an export holds, decompressed if it is; ``file`` stands at its beginning. Raises ExportProblem, inside too,
    for what gzip did not write."""
    compressed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    if not compressed:
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as inside:
            yield cast(BinaryIO, inside)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ExportProblem(f"cannot be decompressed: {error}; it was cut off or changed") from None


def digest_of(file: BinaryIO) -> str:
    """The SHA-256 of a file as it lies there, in hexadecimal, as `sha256sum` prints it. Raises OSError."""
    file.seek(0)
    digest = hashlib.sha256()
    while octets := file.read(_AT_ONCE):
        digest.update(octets)
    file.seek(0)
    return digest.hexdigest()


class _Digesting:
    """Hands on what is written, and digests it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, octets: bytes) -> int:
        self._digest.update(octets)
        return self._file.write(octets)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
