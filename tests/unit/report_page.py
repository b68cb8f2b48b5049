"""Reading a page of the report: its texts by section, and that nothing in it runs or is fetched."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

TAGS_OF_THE_PAGE = """
html head meta title style script body nav strong ol li a main header p button noscript
h1 h2 h3 h4 small bdi span ul div section table
caption thead tbody tfoot tr th td b i dl dt dd figure figcaption article br details summary pre code
svg g path use defs clippath rect text
"""


class Page(HTMLParser):
    """Tags, attributes and the text of every section (an element with an id outside a chart)."""

    VOID = frozenset({"meta", "br"})
    BLOCKS = frozenset({"th", "td", "dt", "dd", "li", "p", "h2", "h3", "h4", "span", "figcaption", "caption"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: dict[str, str] = {}
        self.scripts: list[tuple[str | None, str]] = []  # type, content
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in self.VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed without being open: {tag}"
        if tag in self.BLOCKS:
            self.handle_data(" ")
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "script":
            kind, content = self.scripts.pop()
            self.scripts.append((kind, content + data))
            return
        for _, identifier in self._open:
            if identifier:
                self.text[identifier] = self.text.get(identifier, "") + data

    def said(self, section: str) -> str:
        return " ".join(self.text[section].split())


def assert_inert(html: str) -> Page:
    """Nothing runs, nothing is fetched, every reference inside the page has its one target."""
    page = Page(html)
    assert set(page.tags) <= set(TAGS_OF_THE_PAGE.split())
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "srcset", "action"}]
    identifiers = [value for name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [value for name, value in page.attributes if name.endswith("href")]
    targets += [match for _, value in page.attributes for match in re.findall(r"url\(([^)]*)\)", value)]
    assert all(target.startswith("#") and target[1:] in identifiers for target in targets)
    policy = next(value for name, value in page.attributes if name == "content")
    assert "default-src 'none'" in policy
    (run,) = [content for kind, content in page.scripts if kind is None]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(run.encode()).digest()).decode()}';" in policy
    assert all(isinstance(json.loads(content), dict) for kind, content in page.scripts if kind == "application/json")
    assert {kind for kind, _ in page.scripts} <= {None, "application/json"}
    assert "http:" not in html
    assert "https:" not in html
    return page
