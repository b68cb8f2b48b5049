"""Hostile texts in the report as a browser shows it: nothing runs, nothing is fetched, nothing moves."""

import html
import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_report import hostile_results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--dump-dom",
]
# Without the policy that forbids every script: this one looks around, and a hostile one would run as well.
POLICY = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>")
LOOK_AROUND = """<script>
window.addEventListener("load", () => {
  const isolated = (e) => getComputedStyle(e).unicodeBidi.includes("isolate");
  document.body.dataset.seen = JSON.stringify({
    ran: window.ran || [],
    title: document.title,
    wide: [document.scrollingElement.scrollWidth, innerWidth],
    foreign: document.querySelectorAll("img, iframe, object, embed, form, link, script:not(:last-of-type)").length,
    handlers: [...document.querySelectorAll("*")].filter(e => e.getAttributeNames().some(n => /^on/.test(n))).length,
    links: [...document.querySelectorAll("[href], [src]")].filter(e => !/^#/.test(e.getAttribute("href"))).length,
    texts: document.querySelectorAll(".data").length,
    loose: [...document.querySelectorAll(".data")].filter(e => !isolated(e)).length,
    words: document.body.innerText,
  });
});
</script>"""


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


def hostile_texts(url: str) -> list[str]:
    return [
        f"</script><script src={url}/script></script><script>window.ran=['script']</script>",
        f'"><img src={url}/image onerror="window.ran=[\'image\']"><a href="javascript:window.ran=[\'link\']">x</a>',
        f"<svg onload=\"window.ran=['svg']\"><image href={url}/svg /></svg> javascript:alert(1)",
        f"</style><style>@import '{url}/style'; body {{ background: url({url}/css) }}</style></title></textarea>-->",
        f"<iframe src={url}/frame></iframe><meta http-equiv=refresh content='0;url={url}/meta'>\0<base href={url}/>",
        "\u202egnp.exe\u202c \u2066\u200fשלום 123 (خصم)\x00\x1b[2J\x85",
    ]


def open_page(content: str, folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """What the page looks like from inside, and what the browser complains of."""
    assert CHROMIUM is not None
    page = folder / "page.html"
    page.write_text(content, encoding="utf-8")
    command = [
        CHROMIUM,
        *OPTIONS,
        f"--window-size={width},2000",
        f"--user-data-dir={folder / 'profile'}",
        page.as_uri(),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    seen = re.search(r'data-seen="([^"]*)"', shown.stdout)
    complaints = "\n".join(line for line in shown.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(html.unescape(seen[1])) if seen else {}, complaints


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_hostile_texts_do_nothing_in_a_browser(tmp_path: Path, width: int) -> None:
    address = Address()
    try:
        report = hostile_results(tmp_path / "results", hostile_texts(address.url)).build()
        assert len(POLICY.findall(report)) == 1
        seen, complaints = open_page(
            POLICY.sub("", report).replace("</body>", f"{LOOK_AROUND}</body>"), tmp_path, width
        )
    finally:
        address.http.shutdown()
        address.http.server_close()
    assert address.asked == []
    assert complaints == ""
    assert seen["ran"] == []
    assert "starter" in seen["title"]
    assert (seen["foreign"], seen["handlers"], seen["links"], seen["loose"]) == (0, 0, 0, 0)
    assert seen["texts"] > 100
    page_width, window_width = seen["wide"]
    assert page_width <= window_width
    for text in hostile_texts(address.url)[:3]:
        assert text in seen["words"]  # shown, not swallowed
    assert "⟨U+202E⟩gnp.exe" in seen["words"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_what_would_run_is_seen(tmp_path: Path) -> None:
    address = Address()
    try:
        body = "".join(hostile_texts(address.url)) + "x" * 10_000
        page = f"<!doctype html><title>starter</title><body>{body}{LOOK_AROUND}</body>"
        seen, _ = open_page(page.replace("<meta", "<x"), tmp_path, 500)
    finally:
        address.http.shutdown()
        address.http.server_close()
    assert seen["ran"] != []
    assert address.asked != []
    assert seen["wide"][0] > seen["wide"][1]
