"""The attributes of an upstream's Access-Accept on their way to a client: picked by an allow-list, keys in clear on the
way, hidden anew for the client. Octets in, octets out; no sockets, no randomness, nothing sealed.

Order, repeats, empty values and tags stay. Proxy-State never passes: it is each hop's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from otp_core.radius.codec import Attribute, AttributeType, Packet, vendor_parts
from otp_core.radius.dictionary import CannotEncode, Dictionary
from otp_core.radius.salted import NotHidden, hide, reveal

RELAYED = "relayed attributes"
"""The name under which a first factor brings them along (``FirstFinding.attributes``), sealed. No attribute of a
dictionary has a blank in its name."""

MS_CHAP_ANSWER = "MS-CHAP answer"
"""The same for what answers an MS-CHAPv2 login (ms_chap.ANSWER_NAMES): every client that asked so gets it."""

_VENDOR_SPECIFIC = int(AttributeType.VENDOR_SPECIFIC)
_OF_EACH_HOP = frozenset((int(AttributeType.PROXY_STATE), int(AttributeType.MESSAGE_AUTHENTICATOR)))
_PLAIN, _HIDDEN = b"\0", b"\1"
_SALTED = 2
"""The dictionary's number of the way of hiding that is done anew at each hop."""

Place = tuple[int, int | None]
"""Type and vendor."""


class AllowList:
    """Which attributes are relayed. ``hidden``: their places, and whether their values are hidden anew at each hop.
    ``others``: those too that are not named, as they are; Proxy-State and Message-Authenticator never."""

    def __init__(self, hidden: Mapping[Place, bool], *, others: bool = False) -> None:
        self._others, self._hidden = others, dict(hidden)

    @classmethod
    def named(cls, names: Iterable[str], dictionary: Dictionary, *, others: bool = False) -> AllowList:
        """The same by their names. Raises CannotEncode for one that is not defined, or whose value is hidden in a way
        that cannot be done anew."""
        hidden: dict[Place, bool] = {}
        for name in names:
            place = dictionary.place(name)
            if place.encryption not in (0, _SALTED):
                raise CannotEncode(name, "is hidden in a way that cannot be relayed")
            hidden[place.type, place.vendor] = place.encryption == _SALTED
        return cls(hidden, others=others)

    def without(self, other: AllowList) -> AllowList:
        """Those that are named here and not on the other list."""
        return AllowList({place: hidden for place, hidden in self._hidden.items() if place not in other._hidden})

    def pick(self, reply: Packet, secret: bytes, authenticator: bytes) -> bytes:
        """What of a reply is relayed, for ``write``. ``secret``: the upstream's; ``authenticator``: of the
        request that it answers. Raises NotHidden for a key that does not open."""
        found = []
        for type_, value in reply.attributes:
            if type_ == _VENDOR_SPECIFIC and not self._passes_whole(value):
                found += [_packed(_VENDOR_SPECIFIC, *one) for one in self._of_vendor(value, secret, authenticator)]
            elif (type_, None) in self._hidden:
                found.append(_packed(type_, *self._revealed(type_, None, value, secret, authenticator)))
            elif self._others and type_ not in _OF_EACH_HOP:
                found.append(_packed(type_, value, False))
        return b"".join(found)

    def _passes_whole(self, value: bytes) -> bool:
        """Whether nothing in a Vendor-Specific has to be looked at."""
        vendor = int.from_bytes(value[:4], "big")
        return self._others and not any(self._hidden.get((type_, vendor)) for type_, _ in vendor_parts(value))

    def _of_vendor(self, value: bytes, secret: bytes, authenticator: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each allowed attribute of a Vendor-Specific in one of its own; one that is not made as RFC 2865 section 5.26
        recommends holds none that has a name."""
        vendor = int.from_bytes(value[:4], "big")
        for type_, part in vendor_parts(value):
            if (type_, vendor) in self._hidden:
                clear, hidden = self._revealed(type_, vendor, part, secret, authenticator)
                yield value[:4] + bytes((type_, len(clear) + 2)) + clear, hidden
            elif self._others:
                yield value[:4] + bytes((type_, len(part) + 2)) + part, False

    def _revealed(
        self, type_: int, vendor: int | None, value: bytes, secret: bytes, authenticator: bytes
    ) -> tuple[bytes, bool]:
        if not self._hidden[type_, vendor]:
            return value, False
        tag = value[:1] if vendor is None and type_ == AttributeType.TUNNEL_PASSWORD else b""
        return tag + reveal(value[len(tag) :], secret, authenticator), True


def write(picked: bytes, secret: bytes, authenticator: bytes, salt: Callable[[], bytes]) -> list[Attribute]:
    """The attributes for a reply to a client. ``secret``: the client's; ``authenticator``: of its request; ``salt``:
    gives two octets, other ones each time. Raises NotHidden."""
    attributes: list[Attribute] = []
    at = 0
    while at < len(picked):
        hidden, type_, size = picked[at], picked[at + 1], picked[at + 2]
        value = picked[at + 3 : at + 3 + size]
        at += 3 + size
        if hidden:
            value = _hidden_anew(type_, value, secret, authenticator, salt())
        attributes.append((type_, value))
    return attributes


def _hidden_anew(type_: int, value: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> bytes:
    if type_ != _VENDOR_SPECIFIC:
        return value[:1] + hide(value[1:], secret, authenticator, salt)
    part = hide(value[6:], secret, authenticator, salt)
    if len(part) > 247:
        raise NotHidden("a vendor's value that does not fit into an attribute any more")
    return value[:5] + bytes((len(part) + 2,)) + part


def _packed(type_: int, value: bytes, hidden: bool) -> bytes:
    return (_HIDDEN if hidden else _PLAIN) + bytes((type_, len(value))) + value
