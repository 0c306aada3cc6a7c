"""Tag, length and value: the part of BER that LDAP uses (RFC 4511 §5.1). Pure.

Tags have one octet and lengths are definite; whatever else arrives is refused. It knows no LDAP.
"""

from __future__ import annotations

INTEGER, OCTETS, ENUMERATED, BOOLEAN, SEQUENCE, SET = 0x02, 0x04, 0x0A, 0x01, 0x30, 0x31
_LONG, _MOST_LENGTH_OCTETS, _MOST_NUMBER_OCTETS = 0x80, 4, 8


class NotBer(ValueError):
    """The octets are not what LDAP allows. The text says how."""


def tlv(tag: int, *values: bytes) -> bytes:
    """One element whose value is ``values``, one behind the other."""
    value = b"".join(values)
    if len(value) < _LONG:
        return bytes((tag, len(value))) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + value


def number(value: int, tag: int = INTEGER) -> bytes:
    """An INTEGER or ENUMERATED that is not negative."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """TRUE is all ones in LDAP."""
    return tlv(tag, b"\xff" if value else b"\0")


def element_length(octets: bytes | bytearray) -> int | None:
    """How many octets the first element has in all; None if that cannot be seen yet. Raises NotBer."""
    if len(octets) < 2:
        return None
    first = octets[1]
    if first < _LONG:
        return 2 + first
    count = first & ~_LONG
    if not 1 <= count <= _MOST_LENGTH_OCTETS:
        raise NotBer("a length that is indefinite, or of more than four octets")
    if len(octets) < 2 + count:
        return None
    return 2 + count + int.from_bytes(octets[2 : 2 + count], "big")


class Reader:
    """The elements in ``octets``, from the first to the last."""

    def __init__(self, octets: bytes) -> None:
        self._octets, self._at = octets, 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._octets)

    def next_tag(self) -> int | None:
        """The tag of the next element; None at the end."""
        return None if self.at_end else self._octets[self._at]

    def value(self, tag: int) -> bytes:
        """The value of the next element, which has to have this tag. Raises NotBer."""
        if self.next_tag() != tag:
            raise NotBer(f"an element 0x{tag:02x} is missing")
        return self.any()[1]

    def inner(self, tag: int) -> Reader:
        """The elements inside the next one, which has to have this tag. Raises NotBer."""
        return Reader(self.value(tag))

    def number(self, tag: int = INTEGER) -> int:
        """The next INTEGER or ENUMERATED, which must not be negative. Raises NotBer."""
        octets = self.value(tag)
        if not 1 <= len(octets) <= _MOST_NUMBER_OCTETS or octets[0] & 0x80:
            raise NotBer("a number that is empty, negative or too large")
        return int.from_bytes(octets, "big")

    def any(self) -> tuple[int, bytes]:
        """Tag and value of the next element, whatever it is. Raises NotBer."""
        rest = self._octets[self._at : self._at + 2 + _MOST_LENGTH_OCTETS]
        length = element_length(rest)
        if length is None or self._at + length > len(self._octets):
            raise NotBer("an element that is longer than what holds it")
        if rest[0] & 0x1F == 0x1F:
            raise NotBer("a tag of more than one octet")
        first = rest[1]
        start = self._at + 2 + (first & ~_LONG if first >= _LONG else 0)
        self._at += length
        return rest[0], self._octets[start : self._at]
