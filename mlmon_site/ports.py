"""Ports of this machine."""

import argparse
import contextlib
import socket

LARGEST_PORT = 65_535


def port_number(text: str) -> int:
    """Return the port that `text` names; for argparse."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_PORT}, not {text!r}")
    return int(text)


def port_is_free(host: str, port: int) -> bool:
    """Return whether `host` (an IPv4 address of this machine) can be bound at `port` and "localhost" leads there.

    The web server binds with SO_REUSEPORT, so it would share a port with another one of this user unseen.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return not _answers_on_ipv6_loopback(port)


def _answers_on_ipv6_loopback(port: int) -> bool:
    # "localhost" is ::1 first for most clients: they would talk to that other server.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(0.5)
        probe.connect(("::1", port))
        return True
    return False
