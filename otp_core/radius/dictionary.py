"""Reply attributes by their names: pyrad's dictionary and value codecs, made safe. The only room that knows pyrad.

Octets are encoded here (pyrad 2.6 turns digits and 0x into other octets); encrypted and tagged attributes are refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from pyrad import tools
from pyrad.dictionary import Attribute as Definition
from pyrad.dictionary import Dictionary as PyradDictionary
from pyrad.dictionary import ParseError

from otp_core.radius.codec import Attribute, AttributeType

_OURS = {
    "State", "Proxy-State", "Message-Authenticator", "EAP-Message", "Reply-Message", "Prompt",
    "User-Password", "CHAP-Password", "CHAP-Challenge",
}  # fmt: skip
_TEXT_OR_NUMBER = "write text or a whole number"
_OCTETS = "write text, or 0x and pairs of hexadecimal digits"


class CannotEncode(ValueError):
    """Its text says what is wrong and what would be right; ``form`` the same, without a word of what was written."""

    def __init__(self, name: str, form: str, text: str | None = None) -> None:
        super().__init__(f"{name}: {text or form}")
        self.form = form


class Dictionary:
    """Names to octets. Raises CannotEncode, or ValueError for a file that cannot be read."""

    def __init__(self, extra: Iterable[Path] = ()) -> None:
        try:
            self._names = PyradDictionary(str(standard_dictionary()), *map(str, extra))
        except (ParseError, OSError, ValueError, IndexError) as error:
            # pyrad reads a line that ends too early past its end.
            raise ValueError(f"cannot read the dictionary: {error}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._names.attributes

    def encode_all(self, attributes: Mapping[str, object]) -> list[Attribute]:
        """Every attribute, in the order given; a list stands for the attribute several times."""
        return [item for name, value in attributes.items() for item in self._encode_each(name, value)]

    def _encode_each(self, name: str, value: object) -> Iterable[Attribute]:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return [self.encode(name, one) for one in values]

    def encode(self, name: str, value: object) -> Attribute:
        """One attribute; a vendor's comes wrapped as Vendor-Specific (RFC 2865 section 5.26)."""
        definition = self._definition(name)
        if type(value) not in (str, int):  # True is an int to Python, and no number to an operator
            raise CannotEncode(name, _TEXT_OR_NUMBER, f"{value!r}; {_TEXT_OR_NUMBER}")
        octets, most = _octets(name, definition, value), 247 if definition.vendor else 253
        if not 1 <= len(octets) <= most:
            raise CannotEncode(name, f"{len(octets)} octets; it holds 1 to {most}")
        if not definition.vendor:
            return definition.code, octets
        vendor: int = self._names.vendors.GetForward(definition.vendor)
        head = vendor.to_bytes(4, "big") + bytes((definition.code, len(octets) + 2))
        return int(AttributeType.VENDOR_SPECIFIC), head + octets

    def _definition(self, name: str) -> Definition:
        if name not in self:
            near = difflib.get_close_matches(name, list(self._names.attributes), n=1)
            hint = f"did you mean {near[0]}?" if near else "add its file with radius.dictionary"
            raise CannotEncode(name, f"not in the dictionary; {hint}")
        if name in _OURS:
            raise CannotEncode(name, "the server writes this attribute itself")
        definition: Definition = self._names.attributes[name]
        if definition.encrypt or definition.has_tag:
            raise CannotEncode(name, "encrypted and tagged attributes are not supported")
        if definition.type == "tlv" or definition.is_sub_attribute:
            raise CannotEncode(name, "attributes within attributes are not supported")
        if not 1 <= definition.code <= 255:
            raise CannotEncode(name, f"its number is {definition.code}; one octet holds 1 to 255")
        if not 0 <= self._names.vendors.GetForward(definition.vendor) < 2**32:
            raise CannotEncode(name, f"the number of its vendor, {definition.vendor}, does not fit into four octets")
        return definition


def _octets(name: str, definition: Definition, value: object) -> bytes:
    if definition.type == "octets":
        return _raw(name, value)
    if definition.values.HasForward(value):
        value = definition.values.GetForward(value)
        if isinstance(value, bytes):
            return value
    elif definition.type in ("integer", "byte", "short", "signed", "integer64", "date") and isinstance(value, str):
        value = _number(name, definition, value)
    try:
        if definition.type == "string" and isinstance(value, str):
            return value.encode()  # and however long it is: pyrad's words for that say nothing of octets
        octets: bytes = tools.EncodeAttr(definition.type, value)
    except Exception as error:
        problem = f"is no {definition.type}"
        raise CannotEncode(name, f"its value {problem}", f"{value!r} {problem} ({error})") from None
    return octets


def _number(name: str, definition: Definition, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        known = ", ".join(sorted(str(key) for key in definition.values.forward))
        form = f"write a number or one of {known}" if known else "write a number"
        raise CannotEncode(name, form, f"{value!r}; {form}") from None


def _raw(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise CannotEncode(name, _OCTETS, f"{value!r}; {_OCTETS}")
    try:
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    except ValueError:
        raise CannotEncode(name, _OCTETS, f"{value!r}; {_OCTETS}") from None


def standard_dictionary() -> Path:
    """The dictionary that comes with Sekisho: in the source tree beside the packages, in a wheel inside this one."""
    beside = Path(__file__).parents[2] / "config" / "dictionary" / "dictionary"
    return beside if beside.is_file() else Path(str(files("otp_core.radius") / "dictionary_files" / "dictionary"))
