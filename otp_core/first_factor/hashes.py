"""Password hashes: make our own, check ours and those brought from elsewhere, refuse the rest.

No store, no threads, no policy: a call blocks for as long as the hash costs, and the caller decides on which
thread. Never puts a password, a salt or a hash into a message.

Our own hashes are argon2id. The others exist so that customers can move here with the passwords they have, and
are to be replaced at the first login (``needs_rehash``). The system's libcrypt computes the crypt(3) formats.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

# Beyond these, a few logins at once would stop the server.
MEMORY_KIB_LIMIT = 1024 * 1024
MEMORY_KIB_TIMES_PASSES_LIMIT = 4 * MEMORY_KIB_LIMIT
LANES_LIMIT = 16
PBKDF2_ROUNDS_LIMIT = 10_000_000
SHA_CRYPT_ROUNDS_LIMIT = 5_000_000
BCRYPT_COST_LIMIT = 16

_SALT_BYTES = 16
_DIGEST_BYTES = 32


class UnknownHash(ValueError):
    """No hash that can be checked here: foreign, malformed, or of absurd cost. The text names what is accepted."""


class CannotHash(Exception):
    """The machine cannot work a hash out: no libcrypt, no memory. Silence is due then, not a refusal."""


class Scheme(StrEnum):
    """How a password was hashed; the values are for reports."""

    ARGON2 = "argon2"
    BCRYPT = "bcrypt"
    DJANGO_PBKDF2 = "django-pbkdf2"
    PASSLIB_PBKDF2 = "passlib-pbkdf2"
    SHA256_CRYPT = "sha256-crypt"
    SHA512_CRYPT = "sha512-crypt"
    YESCRYPT = "yescrypt"


@dataclass(frozen=True)
class Cost:
    """What one argon2 hash costs; the defaults are OWASP's minimum.

    Raises ValueError for less than argon2 can do (RFC 9106, section 3.1), and for more than the limits above.
    """

    memory_kib: int = 19456
    time_cost: int = 2
    parallelism: int = 1

    def __post_init__(self) -> None:
        if min(self.time_cost, self.parallelism) < 1 or self.memory_kib < 8 * self.parallelism:
            raise ValueError("less than one pass, one lane, and 8 KiB of memory for each lane")
        _at_most(MEMORY_KIB_LIMIT, self.memory_kib, "KiB of memory")
        _at_most(MEMORY_KIB_TIMES_PASSES_LIMIT, self.memory_kib * self.time_cost, "KiB times passes")
        _at_most(LANES_LIMIT, self.parallelism, "lanes")


def hash_password(password: bytes, cost: Cost) -> str:
    """A new argon2id hash as a PHC string. Raises CannotHash.

    The salt is drawn here, so that no caller can repeat one.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _argon2(password, salt, cost, _DIGEST_BYTES, Type.ID, ARGON2_VERSION)
    return f"{_our_opening(cost)}{_unpadded(salt)}${_unpadded(digest)}"


def dummy_hash(cost: Cost) -> str:
    """The hash of a password that nobody has, to check for unknown customers: they take as long as known ones."""
    return hash_password(secrets.token_bytes(_DIGEST_BYTES), cost)


def check(password: bytes, encoded: str) -> bool:
    """Whether this is the password. Raises UnknownHash where ``validate`` would, and CannotHash.

    A password that a foreign format cannot see whole never matches: of crypt(3)'s, bcrypt sees 72 bytes, the others
    511, none what comes after a NUL; PBKDF2 cannot see whether a NUL is there. Comparing a part would let in
    anyone who knows that part.
    """
    _, recipe = _read(encoded)
    return hmac.compare_digest(recipe.digest_of(password), recipe.digest)


def needs_rehash(encoded: str, cost: Cost) -> bool:
    """Whether the hash is anything but argon2id of just this cost. Never raises."""
    return not encoded.startswith(_our_opening(cost))


def recognise(encoded: str) -> Scheme | None:
    """The scheme of a hash that ``validate`` lets pass, for reports. Does not ask for libcrypt."""
    try:
        scheme, _ = _read(encoded)
    except UnknownHash:
        return None
    return scheme


def validate(encoded: str) -> None:
    """Raises UnknownHash for what ``check`` cannot check, and CannotHash if that needs a libcrypt that is not here."""
    _, recipe = _read(encoded)
    if isinstance(recipe, _Crypt):
        libcrypt()


def _our_opening(cost: Cost) -> str:
    return f"$argon2id$v={ARGON2_VERSION}$m={cost.memory_kib},t={cost.time_cost},p={cost.parallelism}$"


# Recipes: how to come from a password to the digest that was stored. An empty digest never matches.


@dataclass(frozen=True)
class _Argon2:
    kind: Type
    version: int
    cost: Cost
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def digest_of(self, password: bytes) -> bytes:
        return _argon2(password, self.salt, self.cost, len(self.digest), self.kind, self.version)


@dataclass(frozen=True)
class _Pbkdf2:
    algorithm: str
    rounds: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _at_most(PBKDF2_ROUNDS_LIMIT, self.rounds, "rounds")
        if len(self.digest) != hashlib.new(self.algorithm).digest_size:
            raise ValueError(f"the digest is not as long as one of {self.algorithm}")

    def digest_of(self, password: bytes) -> bytes:
        output = hashlib.pbkdf2_hmac(self.algorithm, password, self.salt, self.rounds)
        # HMAC fills a short key up with NULs (RFC 2104), so that one more or less makes no difference to it.
        return b"" if b"\0" in password else output


@dataclass(frozen=True)
class _Crypt:
    longest: int
    setting: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def digest_of(self, password: bytes) -> bytes:
        seen = password.replace(b"\0", b"")[: self.longest]
        # Worked out even if it cannot match, so that a refusal takes no less time than a comparison.
        output = _crypt(seen, self.setting)
        # The digest alone: some bcrypt salts have spare bits set, and libcrypt clears them.
        return output[-len(self.digest) :] if seen == password else b""


_Recipe = _Argon2 | _Pbkdf2 | _Crypt


def _argon2(password: bytes, salt: bytes, cost: Cost, length: int, kind: Type, version: int) -> bytes:
    memory_kib, passes, lanes = cost.memory_kib, cost.time_cost, cost.parallelism
    try:
        return hash_secret_raw(password, salt, passes, memory_kib, lanes, length, kind, version)
    except HashingError as error:
        raise CannotHash(f"argon2: {error}: has every thread {memory_kib} KiB to spare?") from error


# The system's libcrypt (libxcrypt). ctypes lets go of the GIL meanwhile; crypt_rn works in the caller's buffer.

_CRYPT_DATA_BYTES = 32768  # sizeof (struct crypt_data), part of libcrypt's ABI


@functools.cache
def libcrypt(names: tuple[str, ...] = ("libcrypt.so.1", "libcrypt.so.2")) -> ctypes.CDLL:
    """The first of these libraries that has crypt_rn. Raises CannotHash if none is there."""
    for name in names:
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(name)
            library.crypt_rn.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
            library.crypt_rn.restype = ctypes.c_char_p
            return library
    raise CannotHash(
        f"bcrypt and crypt hashes need {' or '.join(names)} with crypt_rn: is the package libcrypt1 installed?"
    )


def _crypt(password: bytes, setting: bytes) -> bytes:
    data = ctypes.create_string_buffer(_CRYPT_DATA_BYTES)
    output = libcrypt().crypt_rn(password, setting, data, len(data))
    if output is None:  # and errno is EINVAL, whatever was wrong
        raise CannotHash("libcrypt gives no hash: is memory short, or was it built without this format?")
    return bytes(output)


# Forms: what a stored hash may look like, and how it is read. What matches none of them is refused.


@dataclass(frozen=True)
class _Form:
    scheme: Scheme
    example: str
    openings: tuple[str, ...]
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], _Recipe]


_ARGON2 = {"$argon2id$": Type.ID, "$argon2i$": Type.I, "$argon2d$": Type.D}
_DJANGO = {"pbkdf2_sha256$": "sha256", "pbkdf2_sha1$": "sha1", "pbkdf2_sha512$": "sha512"}
_PASSLIB = {"$pbkdf2-sha256$": "sha256", "$pbkdf2$": "sha1", "$pbkdf2-sha512$": "sha512"}


def _read_argon2(match: re.Match[str]) -> _Recipe:
    version = int(match["version"] or 16)  # 1.0 did not write its version
    cost = Cost(int(match["memory"]), int(match["passes"]), int(match["lanes"]))
    return _Argon2(_ARGON2[match["opening"]], version, cost, _decoded(match["salt"]), _decoded(match["digest"]))


def _read_django_pbkdf2(match: re.Match[str]) -> _Recipe:
    algorithm = _DJANGO[match["opening"]]
    return _Pbkdf2(algorithm, int(match["rounds"]), match["salt"].encode(), _decoded(match["digest"]))


def _read_passlib_pbkdf2(match: re.Match[str]) -> _Recipe:
    algorithm = _PASSLIB[match["opening"]]
    salt, digest = match["salt"].replace(".", "+"), match["digest"].replace(".", "+")
    return _Pbkdf2(algorithm, int(match["rounds"]), _decoded(salt), _decoded(digest))


def _read_bcrypt(match: re.Match[str]) -> _Recipe:
    _at_most(BCRYPT_COST_LIMIT, int(match["cost"]), "as the cost")
    return _read_crypt(match, longest=72)


def _read_sha_crypt(match: re.Match[str]) -> _Recipe:
    _at_most(SHA_CRYPT_ROUNDS_LIMIT, int(match["rounds"] or 0), "rounds")
    return _read_crypt(match)


def _read_crypt(match: re.Match[str], longest: int = 511) -> _Recipe:
    setting = match.string[: match.start("digest")]
    return _Crypt(longest, setting.encode(), match["digest"].encode())


def _form(
    scheme: Scheme, example: str, openings: Iterable[str], rest: str, read: Callable[[re.Match[str]], _Recipe]
) -> _Form:
    """``rest`` may say <number>, <b64> for a letter of Base64, and <c64> for one of crypt(3)'s."""
    rest = rest.replace("<number>", "[1-9][0-9]{0,9}")
    rest = rest.replace("<b64>", "[A-Za-z0-9+/]").replace("<c64>", "[./0-9A-Za-z]")
    pattern = re.compile(f"(?P<opening>{'|'.join(map(re.escape, openings))}){rest}")
    return _Form(scheme, example, tuple(openings), pattern, read)


# crypt(5), less what libcrypt refuses: blanks, and ! * : ; \ which mean something in /etc/shadow.
_SHA_CRYPT_SETTING = r"(?:rounds=(?P<rounds>[1-9][0-9]{3,8})\$)?(?!rounds=)(?:(?![!$*:;\\])[!-~]){1,16}\$"
# The last letter of a whole number of bytes has bits to spare, which are 0.
_BCRYPT_DIGEST = r"(?P<digest><c64>{30}[.CGKOSWaeimquy26])"
_DIGEST_OF_32 = r"(?P<digest><c64>{42}[./0-9A-D])"
_DIGEST_OF_64 = r"(?P<digest><c64>{85}[./01])"
_YESCRYPT_SALT = r"(?=<c64>)(?:<c64>{4}){0,20}(?:<c64>[./01]|<c64>{2}[./0-9A-D])?"

_FORMS = (
    _form(
        Scheme.ARGON2,
        "$argon2id$v=19$m=19456,t=2,p=1$salt$digest (also argon2i, argon2d)",
        _ARGON2,
        r"(?:v=(?P<version>16|19)\$)?m=(?P<memory><number>),t=(?P<passes><number>),p=(?P<lanes><number>)"
        r"\$(?P<salt><b64>{11,128})\$(?P<digest><b64>{22,128})",
        _read_argon2,
    ),
    _form(
        Scheme.BCRYPT,
        "$2b$12$ and 53 letters (also $2a$, $2y$)",
        ("$2a$", "$2b$", "$2y$"),
        r"(?P<cost>0[4-9]|[12][0-9]|3[01])\$<c64>{22}" + _BCRYPT_DIGEST,
        _read_bcrypt,
    ),
    _form(
        Scheme.DJANGO_PBKDF2,
        "pbkdf2_sha256$600000$salt$digest (also sha1, sha512)",
        _DJANGO,
        r"(?P<rounds><number>)\$(?P<salt>[!-#%-~]{1,128})\$(?P<digest><b64>{1,86})={0,2}",
        _read_django_pbkdf2,
    ),
    _form(
        Scheme.PASSLIB_PBKDF2,
        "$pbkdf2-sha256$29000$salt$digest (also $pbkdf2$, $pbkdf2-sha512$)",
        _PASSLIB,
        r"(?P<rounds><number>)\$(?P<salt><c64>{1,128})\$(?P<digest><c64>{1,86})",
        _read_passlib_pbkdf2,
    ),
    _form(
        Scheme.SHA256_CRYPT,
        "$5$salt$digest or $5$rounds=535000$salt$digest",
        ("$5$",),
        _SHA_CRYPT_SETTING + _DIGEST_OF_32,
        _read_sha_crypt,
    ),
    _form(
        Scheme.SHA512_CRYPT,
        "$6$salt$digest or $6$rounds=656000$salt$digest",
        ("$6$",),
        _SHA_CRYPT_SETTING + _DIGEST_OF_64,
        _read_sha_crypt,
    ),
    _form(
        Scheme.YESCRYPT,
        "$y$j9T$salt$digest (what crypt_gensalt writes: j75, 1 MiB, to jFT, 1 GiB)",
        ("$y$",),
        r"j(?:[78]5|[7-9A-F]T)\$" + _YESCRYPT_SALT + r"\$" + _DIGEST_OF_32,
        _read_crypt,
    ),
)

_ACCEPTED = "; ".join(f"{form.scheme}: {form.example}" for form in _FORMS)


def _read(encoded: str) -> tuple[Scheme, _Recipe]:
    form = next((form for form in _FORMS if encoded.startswith(form.openings)), None)
    if form is None:
        raise UnknownHash(f"no password hash of a form known here. Accepted: {_ACCEPTED}")
    match = form.pattern.fullmatch(encoded)
    if match is None:
        raise UnknownHash(f"begins like {form.scheme} but is cut short or altered. Accepted: {form.example}")
    try:
        return form.scheme, form.read(match)
    except ValueError as error:
        raise UnknownHash(f"{form.scheme}: {error}. Accepted: {form.example}") from error


def _at_most(limit: int, value: int, what: str) -> None:
    if value > limit:
        raise ValueError(f"{value:,} {what}: more than {limit:,} would let a few logins stop the server")


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Base64 without its padding. Raises ValueError for a length or spare bits that no encoder writes."""
    data = base64.b64decode(text + "=" * (-len(text) % 4))
    if _unpadded(data) != text:
        raise ValueError("the last letter of the salt or digest cannot end Base64")
    return data
