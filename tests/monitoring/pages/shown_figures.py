"""Read the figures of a page from the values of its `data` elements."""

from html.parser import HTMLParser


class ShownFigures(HTMLParser):
    """The figures of each row in the tables of a page, by the text of the first link in the row, then by name.

    An unknown figure is None.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[dict[str, float | None]] = []
        self.names: list[str] = []
        self._awaits_name = False
        self.feed(html)

    @property
    def by_name(self) -> dict[str, dict[str, float | None]]:
        return dict(zip(self.names, self.lines, strict=True))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "tr" and known.get("role") == "row":
            self._row: dict[str, float | None] = {}
        elif tag == "a" and not self._row:
            self._awaits_name = True
        elif tag == "data" and known.get("class"):
            if not self._row:
                self.lines.append(self._row)
            value = known["value"]
            self._row[str(known["class"])] = float(value) if value else None

    def handle_data(self, data: str) -> None:
        if self._awaits_name:
            self._name = data
            self._awaits_name = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._row:
            self.names.append(self._name)
            self._row = {}

    _row: dict[str, float | None] = {}
    _name = ""
