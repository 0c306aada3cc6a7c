"""Reply attributes by name: pyrad's dictionary and value codecs behind strict checks. No other module imports pyrad.

pyrad encodes numbers, addresses and dates. Octets and strings are encoded here, because pyrad 2.6 changes octets that
look like digits or start with ``0x``; so are tags (RFC 2868). Encrypted and nested attributes are refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pyrad import tools
from pyrad.dictionary import Attribute as Definition
from pyrad.dictionary import Dictionary as PyradDictionary
from pyrad.dictionary import ParseError

from otp_core.radius.codec import Attribute, AttributeType

_RESERVED = {
    "State", "Proxy-State", "Message-Authenticator", "EAP-Message", "Reply-Message", "Prompt",
    "User-Password", "CHAP-Password", "CHAP-Challenge",
}  # fmt: skip
"""Attributes that the server writes itself, or that have no place in a reply."""

LARGEST_TAG = 31
"""RFC 2868 section 3.1."""

_NUMBER_TYPES = ("integer", "byte", "short", "signed", "integer64", "date")
_TEXT_OR_NUMBER = "write text or a whole number"
_TEXT_OR_HEX = "write text, or 0x and pairs of hexadecimal digits"


class CannotEncode(ValueError):
    """An attribute that cannot be encoded. The text quotes the value and says what would be right; ``form`` says the
    latter alone, for messages that must not repeat the value."""

    def __init__(self, name: str, form: str, text: str | None = None) -> None:
        super().__init__(f"{name}: {text or form}")
        self.form = form


class AttributePlace(NamedTuple):
    """``type``: its number, or that within the Vendor-Specific of ``vendor``. ``encryption``: 0, or the dictionary's
    number of the way in which its value is hidden (2: RFC 2868 section 3.5)."""

    type: int
    vendor: int | None
    encryption: int


class Dictionary:
    """The standard dictionary and further files in FreeRADIUS format. Raises ValueError for a file that cannot be
    read."""

    def __init__(self, extra: Iterable[Path] = ()) -> None:
        try:
            self._names = PyradDictionary(str(standard_dictionary()), *map(str, extra))
        except (ParseError, OSError, ValueError, IndexError) as error:
            # pyrad raises IndexError for a line that ends too early.
            raise ValueError(f"cannot read the dictionary: {error}") from None

    def __contains__(self, name: str) -> bool:
        """Whether an attribute of this name is defined, with or without a tag, whether or not it can be encoded."""
        return untagged(name) in self._names.attributes

    def place(self, name: str) -> AttributePlace:
        """Where an attribute of this name stands in a packet, also one that cannot be encoded here. Raises
        CannotEncode for a name that is not defined, or has no place of its own."""
        definition = self._named(name)
        if definition.type == "tlv" or definition.is_sub_attribute or not 1 <= definition.code <= 255:
            raise CannotEncode(name, "attributes within attributes, and extended ones, are not supported")
        vendor = self._names.vendors.GetForward(definition.vendor) if definition.vendor else None
        return AttributePlace(definition.code, vendor, definition.encrypt)

    def hidden_anew(self) -> list[str]:
        """The names of all attributes whose values each hop hides anew with a salt (RFC 2868 section 3.5)."""
        return [name for name, one in self._names.attributes.items() if one.encrypt == 2 and self._has_place(name)]

    def _has_place(self, name: str) -> bool:
        try:
            self.place(name)
        except CannotEncode:
            return False
        return True

    def encode_all(self, attributes: Mapping[str, object]) -> list[Attribute]:
        """The attributes in the order given; a list of values gives one attribute for each. Raises CannotEncode."""
        return [item for name, value in attributes.items() for item in self._encode_each(name, value)]

    def _encode_each(self, name: str, value: object) -> Iterable[Attribute]:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return [self.encode(name, one) for one in values]

    def encode(self, name: str, value: object) -> Attribute:
        """One attribute with a str or int value. A vendor's attribute comes wrapped in Vendor-Specific (RFC 2865
        section 5.26); ``Name:1`` has the tag 1 (RFC 2868 section 3). Raises CannotEncode."""
        definition = self._definition(name)
        tag = _tag(name, definition)
        if type(value) not in (str, int):  # excludes bool, which isinstance would let through as an int
            raise CannotEncode(name, _TEXT_OR_NUMBER, f"{value!r}; {_TEXT_OR_NUMBER}")
        octets, longest = _encode_value(name, definition, value), 247 if definition.vendor else 253
        if definition.has_tag:
            octets = _tagged(name, definition, tag, octets)
        if not 1 <= len(octets) <= longest:
            raise CannotEncode(name, f"{len(octets)} octets; it holds 1 to {longest}")
        if not definition.vendor:
            return definition.code, octets
        vendor: int = self._names.vendors.GetForward(definition.vendor)
        head = vendor.to_bytes(4, "big") + bytes((definition.code, len(octets) + 2))
        return int(AttributeType.VENDOR_SPECIFIC), head + octets

    def _named(self, name: str) -> Definition:
        name = untagged(name)
        if name not in self._names.attributes:
            near = difflib.get_close_matches(name, list(self._names.attributes), n=1)
            hint = f"did you mean {near[0]}?" if near else "add its file with radius.dictionary"
            raise CannotEncode(name, f"not in the dictionary; {hint}")
        return self._names.attributes[name]

    def _definition(self, name: str) -> Definition:
        definition, name = self._named(name), untagged(name)
        if name in _RESERVED:
            raise CannotEncode(name, "the server writes this attribute itself")
        if definition.encrypt:
            raise CannotEncode(name, "encrypted attributes are not supported")
        if definition.type == "tlv" or definition.is_sub_attribute:
            raise CannotEncode(name, "attributes within attributes are not supported")
        if not 1 <= definition.code <= 255:
            raise CannotEncode(name, f"its number is {definition.code}; one octet holds 1 to 255")
        if not 0 <= self._names.vendors.GetForward(definition.vendor) < 2**32:
            raise CannotEncode(name, f"the number of its vendor, {definition.vendor}, does not fit into four octets")
        return definition


def untagged(name: str) -> str:
    """The name without its tag: ``Tunnel-Type:1`` -> ``Tunnel-Type``."""
    return name.partition(":")[0]


def _tag(name: str, definition: Definition) -> int:
    """The tag of ``Name:tag``, 0 for a name without one. Raises CannotEncode."""
    base, colon, text = name.partition(":")
    if not colon:
        return 0
    if not definition.has_tag:
        raise CannotEncode(name, f"this attribute has no tags (RFC 2868): write {base}")
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= LARGEST_TAG):
        raise CannotEncode(name, f"a tag is a number from 1 to {LARGEST_TAG}: write {base}:1")
    return int(text)


def _tagged(name: str, definition: Definition, tag: int, octets: bytes) -> bytes:
    """A value with its tag: in the place of the first of four octets, or before a text (RFC 2868 sections 3.1, 3.3).
    A text without a tag must not begin with an octet that is one."""
    if definition.type == "integer":
        if octets[0]:
            raise CannotEncode(name, "its number has to be less than 16,777,216: three octets are left beside the tag")
        return bytes((tag,)) + octets[1:]
    if tag:
        return bytes((tag,)) + octets if octets else octets
    if octets and octets[0] <= LARGEST_TAG:
        raise CannotEncode(name, f"begins with a control character, which would be read as a tag: write {name}:1")
    return octets


def _encode_value(name: str, definition: Definition, value: object) -> bytes:
    if definition.type == "octets":
        return _encode_octets(name, value)
    if definition.values.HasForward(value):
        value = definition.values.GetForward(value)
        if isinstance(value, bytes):
            return value
    elif definition.type in _NUMBER_TYPES and isinstance(value, str):
        value = _read_number(name, definition, value)
    try:
        if definition.type == "string" and isinstance(value, str):
            return value.encode()  # of any length: encode() reports octets, where pyrad would report characters
        octets: bytes = tools.EncodeAttr(definition.type, value)
    except Exception as error:
        problem = f"is no {definition.type}"
        raise CannotEncode(name, f"its value {problem}", f"{value!r} {problem} ({error})") from None
    return octets


def _read_number(name: str, definition: Definition, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        known = ", ".join(sorted(str(key) for key in definition.values.forward))
        form = f"write a number or one of {known}" if known else "write a number"
        raise CannotEncode(name, form, f"{value!r}; {form}") from None


def _encode_octets(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise CannotEncode(name, _TEXT_OR_HEX, f"{value!r}; {_TEXT_OR_HEX}")
    try:
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    except ValueError:
        raise CannotEncode(name, _TEXT_OR_HEX, f"{value!r}; {_TEXT_OR_HEX}") from None


def standard_dictionary() -> Path:
    """The dictionary file that comes with Sekisho: in the source tree below ``config``, in a wheel inside this
    package."""
    in_source_tree = Path(__file__).parents[2] / "config" / "dictionary" / "dictionary"
    if in_source_tree.is_file():
        return in_source_tree
    return Path(str(files("otp_core.radius") / "dictionary_files" / "dictionary"))
