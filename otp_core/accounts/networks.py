"""The networks whose tokens are counted for a source address. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a source address lies in. ``prefix``: the origin of its tokens, or how those of a wider network
    begin; ``shares``: how many origins' quotas it has;
    ``is_new_by``: a token that was issued in it shows that it is not new."""

    name: str
    prefix: str
    shares: int
    is_new_by: bool = False


def networks_of(source: str) -> tuple[Network, ...]:
    """The networks whose tokens are counted for an IP address, the narrowest first, which is the token's origin. IPv6:
    the /64 of a host, the /56 of a household, the /48 of a site, with one, two and four shares. IPv4: the address,
    behind which a carrier may have many customers, and its /24, with one and four. Raises ValueError."""
    address = ip_address(source.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address):
        digits = address.exploded  # 2001:0db8:0001:0203:…: four digits a group, so a prefix of 56 bits is one of text
        return (
            Network(f"{IPv6Network((address, 64), strict=False)}", digits[:19], 1),
            Network(f"{IPv6Network((address, 56), strict=False)}", digits[:17], 2),
            Network(f"{IPv6Network((address, 48), strict=False)}", digits[:15], 4, is_new_by=True),
        )
    three = str(address).rpartition(".")[0]
    return (
        Network(str(address), str(address), 1, is_new_by=True),
        Network(f"{three}.0/24", f"{three}.", 4),
    )
