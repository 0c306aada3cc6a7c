"""The texts that one typed password can stand for: Unicode spells one text in several ways, and charsets read one octet
in two. Pure; hashes nothing.
"""

from __future__ import annotations

import unicodedata

LONGEST_NORMALISED = 256
"""Characters. A longer password is taken as it is: normalising costs time that grows with the square of its length."""

# Characters of JIS X 0208 that Microsoft's code page 932 (and whoever types on Windows) maps to one character, and
# Shift_JIS, iconv and Apple to another: 81 7C is U+FF0D or U+2212, 81 60 is U+FF5E or U+301C.
_PAIRS = {
    "\uff0d": "\u2212",
    "\uff5e": "\u301c",
    "\u2225": "\u2016",
    "\u2015": "\u2014",
    "\uffe0": "\u00a2",
    "\uffe1": "\u00a3",
    "\uffe2": "\u00ac",
    "\uffe4": "\u00a6",
}
_OTHER_MAPPING = str.maketrans(_PAIRS | {jis: microsoft for microsoft, jis in _PAIRS.items()})
# Nobody types a C1 control: a gateway that calls itself Latin-1 and sends 0x80 means the euro sign of Windows-1252.
_WINDOWS_1252 = {number: read for number in range(0x80, 0xA0) if (read := bytes([number]).decode("cp1252", "ignore"))}


def canonical(password: str) -> bytes:
    """The octets of which a new hash is made: the password in NFC, as UTF-8."""
    return _nfc(password).encode()


def forms(password: str) -> tuple[str, ...]:
    """The texts that may have been hashed when this password was set, each once, the likeliest first: in NFC, as it
    came, in NFD (from an Apple file), with the other mapping of Shift_JIS (in NFC and NFD) or Windows-1252. One for
    ASCII, six at most. How many there are depends on nothing but the text, so it tells nothing of a customer."""
    if password.isascii() or len(password) > LONGEST_NORMALISED:
        return (password,)
    remapped = password.translate(_OTHER_MAPPING)
    windows = _nfc(password.translate(_WINDOWS_1252))
    return tuple(dict.fromkeys((_nfc(password), password, _nfd(password), _nfc(remapped), _nfd(remapped), windows)))


def _nfc(password: str) -> str:
    return password if len(password) > LONGEST_NORMALISED else unicodedata.normalize("NFC", password)


def _nfd(password: str) -> str:
    return unicodedata.normalize("NFD", password)
