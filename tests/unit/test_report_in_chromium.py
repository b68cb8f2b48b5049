"""The report as a reader has it in a browser."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from playwright.sync_api import expect
from report_files import Results, hostile_results, predictions

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Open = Callable[..., "Page"]
ROWS = 10_000
TABLE = "#run-1-items"  # of the run `spam-random`


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report with a table that is longer than the page takes, and a text of many lines in it."""
    results = Results(tmp_path_factory.mktemp("report")).write()
    rows = predictions(results.labels, ROWS + 500, 1.0, 3).assign(split="test")
    rows.loc[rows["id"] == 77, "text"] = "Dear all\n" + "of a letter with many words, " * 30 + "omega"
    rows.loc[rows["id"] == 78, "text"] = "such a " + "😀" * 330 + " smiling"
    results.table("spam-random/seed-1/predictions.parquet", rows)
    results.build()
    return (results.root / "report.html").as_uri()


def seen(table: "Locator", column: int) -> list[str]:
    """The values of a column on the page of the table that is shown."""
    return table.locator(f"tbody tr > :nth-child({column})").all_inner_texts()


def test_mistakes_come_first_and_pages_turn(open_page: Open, report: str) -> None:
    table = open_page(report).locator(TABLE)
    assert table.get_by_role("status").inner_text() == f"{ROWS:,} rows"
    assert set(seen(table, 6)) == {"✗ wrong"}
    first = seen(table, 5)
    assert first == sorted(first, reverse=True)
    table.get_by_role("button", name="Next").click()
    assert seen(table, 5)[0] <= first[-1]
    assert "26–50 of 10,000" in table.inner_text()
    table.get_by_role("button", name="Previous").click()
    assert seen(table, 5) == first
    assert "500 of 10,500 rows are left out here" in table.inner_text()
    assert "results/starter/spam-random/seed-*/predictions.parquet" in table.inner_text()


def test_search_finds_rows_by_all_words_in_all_columns(open_page: Open, report: str) -> None:
    table = open_page(report).locator(TABLE)
    table.get_by_label("Search").fill("ham LETTER 77")
    table.get_by_text(f"1 of {ROWS:,} rows").wait_for()
    assert seen(table, 1) == ["77"]
    table.get_by_label("Search").fill("nothing like this")
    table.get_by_text(f"0 of {ROWS:,} rows").wait_for()
    assert seen(table, 2) == []
    table.get_by_label("Search").fill("")
    table.get_by_text(f"{ROWS:,} rows", exact=True).wait_for()
    table.get_by_label("Result").select_option("✓ right")
    assert set(seen(table, 6)) == {"✓ right"}
    table.get_by_label("True").select_option("spam")
    assert set(seen(table, 3)) == set(seen(table, 4)) == {"spam"}


def test_heads_sort_by_keyboard(open_page: Open, report: str) -> None:
    page = open_page(report)
    table = page.locator(TABLE)
    before = seen(table, 1)
    head = table.locator("th").nth(0)
    head.get_by_role("button").focus()
    for order in ("descending", "ascending"):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        numbers = [int(text) for text in seen(table, 1)]
        assert numbers == sorted(numbers, reverse=order == "descending")
        assert min(numbers) > 10_000 if order == "descending" else max(numbers) < 100
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert seen(table, 1) == before
    table.get_by_role("button", name="Text").click()
    assert seen(table, 2)[0].startswith("Dear all")


def test_long_texts_open(open_page: Open, report: str) -> None:
    table = open_page(report).locator(TABLE)
    table.get_by_label("Search").fill("omega")
    table.locator("details").wait_for()
    assert "omega" not in table.locator("tbody").inner_text()
    table.locator("tbody summary").click()
    assert table.locator("tbody").inner_text().count("omega") == 1
    assert table.locator("tbody").inner_text().count("Dear all") == 1


def test_characters_are_counted_as_without_javascript(open_page: Open, report: str) -> None:
    table = open_page(report).locator(TABLE)
    table.get_by_label("Search").fill("smiling")
    table.get_by_text(f"1 of {ROWS:,} rows").wait_for()
    assert table.locator("tbody details").count() == 0  # 345 characters, 675 halves


def test_digits_are_those_of_the_column(open_page: Open, tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    rows = predictions(results.labels, 60, 1.0, 3).assign(split="test", probability_ham=1, probability_spam=0)
    results.table("spam-random/seed-1/predictions.parquet", rows.assign(prediction="ham"))
    results.build()
    table = open_page((tmp_path / "report.html").as_uri()).locator(TABLE)
    assert seen(table, 5)[0] == "1.000"
    assert "." not in seen(table, 1)[0]


def test_short_tables_sort_as_well(open_page: Open, report: str) -> None:
    page = open_page(report)
    table = page.locator("#run-2 table.sortable")
    items = "tbody tr > :nth-child(3)"
    table.get_by_role("button", name="Exact match").click()
    assert [text[:5] for text in table.locator(items).all_inner_texts()] == ["0.700", "0.350", "0.100"]
    table.get_by_role("button", name="Exact match").click()
    assert [text[:5] for text in table.locator(items).all_inner_texts()] == ["0.100", "0.350", "0.700"]


def test_charts_tell_their_values(open_page: Open, report: str) -> None:
    page = open_page(report)
    figure = page.locator("#run-2 figure").filter(has_text="Exact match by category")
    chart = figure.locator("svg")
    chart.scroll_into_view_if_needed()
    points = json.loads(chart.get_attribute("data-points") or "")["series"][0]["points"]
    box, width = chart.bounding_box(), chart.evaluate("svg => svg.viewBox.baseVal.width")
    assert box is not None
    scale = box["width"] / width
    page.mouse.move(box["x"] + points[0][0] * scale + 3, box["y"] + points[0][1] * scale + 2)
    tip = figure.locator(".tip")
    assert tip.inner_text().split("\n") == [
        "fine-tuned, with its interval",
        "share of exact matches: 0.7",
        "plural",
        "interval: 0.6 to 0.8",
    ]
    page.mouse.move(1, 1)
    assert tip.inner_text() == ""
    # The points are where matplotlib drew them.
    drawn = chart.locator("use").evaluate_all("all => all.map(use => [use.x.baseVal.value, use.y.baseVal.value])")
    assert min(np.hypot(x - points[0][0], y - points[0][1]) for x, y in drawn) < 0.2

    figure.locator("[tabindex='0']").first.focus()
    page.keyboard.press("ArrowRight")
    assert "reverse" in tip.inner_text()
    page.keyboard.press("ArrowDown")
    assert tip.inner_text().startswith("nearest neighbour\nshare of exact matches: 0.3")
    page.keyboard.press("Escape")
    assert tip.inner_text() == ""
    figure.locator("summary").click()
    rows = figure.locator("details tr").all_inner_texts()
    assert "fine-tuned, with its interval\t0.7\tplural" in rows
    assert len(rows) == 1 + 4 * 3


def test_theme_follows_the_system_until_it_is_chosen(open_page: Open, report: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page = open_page(report, color_scheme="dark")
    dark = page.evaluate(background)
    page.get_by_role("button", name="Dark theme", pressed=True).click()
    light = page.evaluate(background)
    assert light == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.evaluate(background) == light
    page.emulate_media(media="print")
    assert page.evaluate(background) == light
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Dark theme", pressed=False).click()
    assert page.evaluate(background) == dark
    page.emulate_media(media="print")
    assert page.evaluate(background) == light
    assert not page.locator("nav").is_visible()
    assert not page.locator(".tools").first.is_visible()


def test_contents_lead_through_the_page(open_page: Open, report: str) -> None:
    page = open_page(report, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    current = page.locator("nav a[aria-current]")
    assert current.inner_text() == "Verdicts"
    page.locator("nav a", has_text="Time and memory").click()
    expect(current).to_have_text("Time and memory")
    assert current.is_visible()


@pytest.mark.parametrize("width", [400, 1280])
def test_contents_name_the_parts_of_the_run_that_is_read(open_page: Open, report: str, width: int) -> None:
    page = open_page(report, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    part = page.locator("nav a[href='#run-1-calibration']")
    if width == 400:
        page.get_by_text("Contents").click()
    assert not part.is_visible()
    page.locator("nav a[href='#run-1']").click()
    if width == 400:
        page.get_by_text("Contents").click()
    part.click()
    expect(page.locator("nav a[aria-current]")).to_have_text("Calibration")
    assert page.locator("nav a[href='#run-2-results']").is_hidden()


@pytest.mark.parametrize("width", [320, 400])
def test_a_phone_scrolls_one_way(open_page: Open, report: str, width: int) -> None:
    page = open_page(report, viewport={"width": width, "height": 800}, has_touch=True)
    assert page.evaluate("document.scrollingElement.scrollWidth") == width
    table = page.locator(TABLE)
    assert page.evaluate(
        f"[...document.querySelectorAll('{TABLE} .scroll')].every(e => e.scrollWidth <= e.clientWidth)"
    )
    assert "wrong" in table.inner_text()
    contents = page.locator("nav a", has_text="Provenance")
    assert not contents.is_visible()
    page.get_by_text("Contents").click()
    contents.click()
    assert not contents.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_keeps_readers_out(
    open_page: Open, tmp_path: Path, accessibility_violations: "Callable[[Page], Any]", theme: str
) -> None:
    results = Results(tmp_path).write()
    del results.settings["runs"]["spam"]  # seconds less, and nothing that the other runs do not show
    results.build()
    width = {"light": 1280, "dark": 400}[theme]
    page = open_page((tmp_path / "report.html").as_uri(), color_scheme=theme, viewport={"width": width, "height": 800})
    page.locator("#run-0 figure summary").first.click()
    page.locator(".steps summary").click()
    assert accessibility_violations(page) == {}


def test_commands_are_copied(open_page: Open, report: str) -> None:
    page = open_page(report, permissions=["clipboard-read", "clipboard-write"])
    page.locator(".copyable", has_text="--configfile").get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").endswith("--configfile starter.yaml")


def test_without_javascript_the_beginning_is_there(open_page: Open, report: str) -> None:
    page = open_page(report, java_script_enabled=False)
    table = page.locator(TABLE)
    assert table.locator("tbody tr").count() == 50
    assert set(seen(table, 6)) == {"✗ wrong"}
    assert "The first 50 of 10,000 rows" in table.inner_text()
    assert page.locator("nav a", has_text="Provenance").is_visible()
    assert not page.get_by_role("button").count()


# ---- hostile texts: nothing runs, nothing is fetched, nothing moves ------------------------------------------


class Address:
    """A server that nobody should talk to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_error(404)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def address() -> Iterator[Address]:
    address = Address()
    yield address
    address.http.shutdown()
    address.http.server_close()


def hostile_texts(url: str) -> list[str]:
    return [
        f"</script><script src={url}/script></script><script>window.ran=['script']</script>",
        f'"><img src={url}/image onerror="window.ran=[\'image\']"><a href="javascript:window.ran=[\'link\']">x</a>',
        f"<svg onload=\"window.ran=['svg']\"><image href={url}/svg /></svg> javascript:alert(1) <!--<script>",
        f"</style><style>@import '{url}/style'; body {{ background: url({url}/css) }}</style></title></textarea>-->",
        f"<iframe src={url}/frame></iframe><meta http-equiv=refresh content='0;url={url}/meta'>\0<base href={url}/>",
        "\u202egnp.exe\u202c \u2066\u200fשלום 123 (خصم)\x00\x1b[2J\x85\u2028",
    ]


@pytest.mark.parametrize("width", [1280, 400])
def test_hostile_texts_do_nothing_in_a_browser(open_page: Open, address: Address, tmp_path: Path, width: int) -> None:
    texts = hostile_texts(address.url)
    results = hostile_results(tmp_path / "results", texts)
    results.build()
    # Without the page's own policy: the texts alone must be harmless.
    page = open_page((results.root / "report.html").as_uri(), bypass_csp=True, viewport={"width": width, "height": 800})
    for choice in page.locator("select").all():
        choice.select_option(index=1)
        choice.select_option(index=0)
    for chart in page.locator(".values-by-key").all():
        chart.focus()
        page.keyboard.press("ArrowRight")
    for summary in page.locator("summary").all():
        summary.evaluate("element => element.click()")
    found = page.evaluate("""() => {
        const all = (selector) => [...document.querySelectorAll(selector)];
        const isolated = (element) => getComputedStyle(element).unicodeBidi.includes("isolate");
        return {
            ran: window.ran ?? [],
            foreign: all("img, iframe, object, embed, form, link, image, base").length,
            scripts: all("script:not([type])").length,
            handlers: all("*").filter(one => one.getAttributeNames().some(name => /^on/.test(name))).length,
            links: all("[href], [src]").filter(one => !/^#/.test(one.getAttribute("href"))).length,
            loose: all(".data").filter(one => !isolated(one)).length,
            wide: document.scrollingElement.scrollWidth,
        };
    }""")
    nothing = dict.fromkeys(("foreign", "handlers", "links", "loose"), 0)
    assert found == {"ran": [], "scripts": 1, "wide": width, **nothing}
    assert address.asked == []
    words = page.locator("main").inner_text()
    assert all(text in words for text in texts[:3])  # shown, not swallowed
    assert "⟨U+202E⟩gnp.exe" in words
    assert "starter" in page.title()


def test_what_would_run_is_seen(open_page: Open, address: Address, tmp_path: Path) -> None:
    body = "".join(hostile_texts(address.url)[1:3])
    (tmp_path / "page.html").write_text(f"<!doctype html><title>x</title><body>{body}</body>", encoding="utf-8")
    page = open_page((tmp_path / "page.html").as_uri())
    assert page.evaluate("window.ran") == ["svg"] or page.evaluate("window.ran") == ["image"]
    assert "/image" in address.asked
