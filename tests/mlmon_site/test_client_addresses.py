"""The address of a client, with and without proxies."""

from ipaddress import ip_network

import pytest

from mlmon_site.client_addresses import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # a client that names another
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.9, 198.51.100.1", "198.51.100.1"),  # only the proxy's own entry is believed
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "nonsense", "nonsense"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
    ],
)
def test_only_trusted_proxies_name_the_client(peer: str, forwarded_for: str | None, expected: str) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == expected
