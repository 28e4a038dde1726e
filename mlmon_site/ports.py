"""TCP ports of this machine."""

import argparse
import contextlib
import socket

LARGEST_PORT = 65_535


def port_number(text: str) -> int:
    """Return the port in `text`; a type for argparse."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_PORT}, not {text!r}")
    return int(text)


def port_is_free(host: str, port: int) -> bool:
    """Return whether `port` of `host`, an IPv4 address of this machine, can be bound and is what "localhost" reaches.

    The web server binds with SO_REUSEPORT, so it would silently share a port with another server of the same user.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    # Most clients try ::1 first for "localhost": a server that listens there would get their requests.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(0.5)
        probe.connect(("::1", port))
        return False
    return True
