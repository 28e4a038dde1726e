"""The address of a client, also behind proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address that a request comes from.

    Parameters
    ----------
    peer
        The address of the connection.
    forwarded_for
        The header X-Forwarded-For: each proxy appends the address that it got the request from.
    trusted
        Networks of proxies. Only what a trusted proxy appended is believed.
    """
    forwarded = [address.strip() for address in (forwarded_for or "").split(",")]
    addresses = [*filter(None, forwarded), peer]
    while len(addresses) > 1 and _is_in(addresses[-1], trusted):
        addresses.pop()
    return addresses[-1]


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
