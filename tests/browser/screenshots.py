"""Screenshots of every page, light and dark, wide and narrow.

``python -m tests.browser.screenshots --out DIR [--page NAME ...]`` starts mlmon with its demo and some history, and
writes ``NAME-THEME-WIDTH.png``. With ``--url`` it takes them from a running server, such as one of ``make run``.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.inventory import HEIGHT, PAGES, THEMES, WIDTHS, PageKind, Server, Visitor, run_with_history
from tests.browser.tabs import launched, log_in


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is already running."""

    url: str
    password: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the screenshots")
    names = [kind.name for kind in PAGES]
    parser.add_argument(
        "--page", action="append", choices=names, metavar="NAME", help="only this page; can be repeated"
    )
    parser.add_argument("--theme", action="append", choices=THEMES, help="only this theme")
    parser.add_argument("--width", action="append", choices=list(WIDTHS), help="only this width")
    parser.add_argument("--height", type=int, metavar="PIXELS", help="only the upper part of each page")
    parser.add_argument("--url", help="a running server (default: start one with some history)")
    parser.add_argument(
        "--password-file",
        type=Path,
        default=Path("var/admin_password"),
        metavar="FILE",
        help="password of the account admin on the running server (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    kinds = [kind for kind in PAGES if not parsed.page or kind.name in parsed.page]
    themes, widths = parsed.theme or THEMES, parsed.width or list(WIDTHS)
    parsed.out.mkdir(parents=True, exist_ok=True)
    with server_of(parsed.url, parsed.password_file) as server:
        sys.stderr.write(f"{len(kinds)} pages of {server.url} …\n")
        for theme in themes:
            for width in widths:
                take(server, kinds, parsed.out, theme=theme, width=width, height=parsed.height)
    sys.stdout.write(f"{len(kinds) * len(themes) * len(widths)} screenshots in {parsed.out}\n")


@contextlib.contextmanager
def server_of(url: str | None, password_file: Path) -> Iterator[Server]:
    """Yield the server at `url`, or a new one with some history."""
    if url is not None:
        yield RunningServer(url.rstrip("/"), password_file.read_text().strip())
        return
    with tempfile.TemporaryDirectory(prefix="mlmon-") as folder, run_with_history(Path(folder)) as run:
        yield run


def take(
    server: Server, kinds: Sequence[PageKind], folder: Path, *, theme: str, width: str, height: int | None = None
) -> None:
    """Write a screenshot of each page in one theme and width: the whole page, or its upper `height` pixels."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        context = browser.new_context(viewport={"width": WIDTHS[width], "height": height or HEIGHT})
        visitor = Visitor(context, server, theme)
        for is_public in (True, False):
            if not is_public:
                log_in(visitor.tab, server.url, "admin", server.password)
            for kind in kinds:
                if kind.is_public == is_public:
                    path = folder / f"{kind.name}-{theme}-{width}.png"
                    visitor.open(kind).screenshot(path=path, full_page=height is None)


if __name__ == "__main__":
    main()
