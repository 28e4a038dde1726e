"""Pictures of every page, light and dark, wide and narrow.

``python -m tests.browser.screenshots --out DIR [--page NAME ...]`` starts mlmon with its demo and some history, and
writes ``NAME-THEME-WIDTH.png``.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.chromium import launched
from tests.browser.inventory import HEIGHT, PAGES, THEMES, WIDTHS, PageKind, go_to, log_in, run_with_history, use_theme
from tests.services.embedded_run import EmbeddedRun


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parsed = _parser().parse_args(arguments)
    wanted = [kind for kind in PAGES if not parsed.page or kind.name in parsed.page]
    parsed.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mlmon-") as folder, run_with_history(Path(folder)) as run:
        sys.stderr.write(f"{len(wanted)} pages of {run.url} …\n")
        for theme in THEMES:
            for width in WIDTHS:
                take(run, wanted, parsed.out, theme=theme, width=width)
    sys.stdout.write(f"{len(wanted) * len(THEMES) * len(WIDTHS)} pictures in {parsed.out}\n")


def take(run: EmbeddedRun, kinds: Sequence[PageKind], folder: Path, *, theme: str, width: str) -> None:
    """Write a picture of each page in one theme and width."""
    with sync_playwright() as playwright, launched(playwright) as browser:
        context = browser.new_context(viewport={"width": WIDTHS[width], "height": HEIGHT})
        use_theme(context, theme)
        tab = context.new_page()
        for is_public in (True, False):
            if not is_public:
                log_in(tab, run)
            for kind in kinds:
                if kind.is_public == is_public:
                    go_to(tab, run, kind)
                    tab.screenshot(path=folder / f"{kind.name}-{theme}-{width}.png", full_page=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    names = [kind.name for kind in PAGES]
    parser.add_argument(
        "--page", action="append", choices=names, metavar="NAME", help="only this page (again: several)"
    )
    return parser


if __name__ == "__main__":
    main()
