"""Pictures of every page, light and dark, wide and narrow.

``python -m tests.browser.screenshots --out DIR [--page NAME ...]`` starts mlmon with its demo and some history, and
writes ``NAME-THEME-WIDTH.png``. With ``--url`` it looks at a run that is there already, such as one of ``make run``.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.chromium import launched
from tests.browser.inventory import (
    HEIGHT,
    PAGES,
    THEMES,
    WIDTHS,
    PageKind,
    Shown,
    go_to,
    run_with_history,
    use_theme,
)
from tests.browser.login import log_in


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A run that somebody else has started."""

    url: str
    password: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parsed = _parser().parse_args(arguments)
    wanted = [kind for kind in PAGES if not parsed.page or kind.name in parsed.page]
    themes, widths = parsed.theme or THEMES, parsed.width or list(WIDTHS)
    parsed.out.mkdir(parents=True, exist_ok=True)
    with shown_run(parsed.url, parsed.password_file) as run:
        sys.stderr.write(f"{len(wanted)} pages of {run.url} …\n")
        for theme in themes:
            for width in widths:
                take(run, wanted, parsed.out, theme=theme, width=width, height=parsed.height)
    sys.stdout.write(f"{len(wanted) * len(themes) * len(widths)} pictures in {parsed.out}\n")


@contextlib.contextmanager
def shown_run(url: str | None, password_file: Path) -> Iterator[Shown]:
    """Give the run at `url`, or a new one with some history."""
    if url is not None:
        yield RunningServer(url.rstrip("/"), password_file.read_text().strip())
        return
    with tempfile.TemporaryDirectory(prefix="mlmon-") as folder, run_with_history(Path(folder)) as run:
        yield run


def take(
    run: Shown, kinds: Sequence[PageKind], folder: Path, *, theme: str, width: str, height: int | None = None
) -> None:
    """Write a picture of each page in one theme and width: the whole page, or its upper `height` pixels."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        context = browser.new_context(viewport={"width": WIDTHS[width], "height": height or HEIGHT})
        use_theme(context, theme)
        tab = context.new_page()
        for is_public in (True, False):
            if not is_public:
                log_in(tab, run.url, "admin", run.password)
            for kind in kinds:
                if kind.is_public == is_public:
                    go_to(tab, run, kind)
                    tab.screenshot(path=folder / f"{kind.name}-{theme}-{width}.png", full_page=height is None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    names = [kind.name for kind in PAGES]
    parser.add_argument(
        "--page", action="append", choices=names, metavar="NAME", help="only this page (again: several)"
    )
    parser.add_argument("--theme", action="append", choices=THEMES, help="only this theme")
    parser.add_argument("--width", action="append", choices=list(WIDTHS), help="only this width")
    parser.add_argument("--height", type=int, metavar="PIXELS", help="the upper part of each page (default: all of it)")
    parser.add_argument("--url", help="of a run that is there already (default: a new one with some history)")
    parser.add_argument(
        "--password-file", type=Path, default=Path("var/admin_password"), metavar="FILE", help="%(default)s"
    )
    return parser


if __name__ == "__main__":
    main()
