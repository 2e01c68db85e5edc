"""A study's page in a real browser: texts of others do nothing, and it fetches nothing."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.browser import browser
from nightlab.records import Verdict
from nightlab.report.page import render_page
from nightlab.report.study import read_study
from tests.hostile_texts import HOSTILE
from tests.report.samples import FixedStudy, baseline, trial
from tests.report.test_live import under_way

pytestmark = pytest.mark.slow

ACTIVE = """
<script>window.ran = 1; fetch("{0}/script")</script>
<img src="{0}/picture" onerror="window.ran = 1"><iframe src="{0}/frame"></iframe>
<style>@import url("{0}/style"); body {{ background: url("{0}/background") }}</style>
<link rel="stylesheet" href="{0}/sheet"><object data="{0}/object"></object>
<svg onload="window.ran = 1"><image href="{0}/drawing"/></svg><script src="{0}/source"></script>
"""


@contextmanager
def served(pages: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Pages on loopback, and which addresses were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = pages.get(self.path, "").encode()
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_nothing_runs_and_nothing_is_fetched_but_the_page_itself() -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium, found none on the PATH")
    pages: dict[str, str] = {}
    with served(pages) as (address, asked), browser() as page:
        active = ACTIVE.format(address)
        texts = [active, *(each.replace("http://x.example", address) for each in HOSTILE.values())]
        records = [
            trial(number, Verdict.KEEP, (1.9,), title=text, log_tail=text, difference=-0.1)
            for number, text in enumerate(texts, start=1)
        ]
        study = read_study(FixedStudy(all_records=[baseline(), *records]))
        whole = render_page(study, dict.fromkeys(range(1, len(texts) + 1), f"+{active}"))
        pages["/escaped"] = whole
        # As if nothing were escaped: the page's policy alone holds.
        pages["/raw"] = whole.replace("<main>", f"<main>{active}")
        pages["/live"] = render_page(study, {}, under_way()).replace("<main>", f"<main>{active}")
        for name in ("/escaped", "/raw", "/live"):
            loaded = "document.readyState === 'complete' && document.querySelector('table.trials')"
            assert page.open(address + name, loaded) is not None
            assert page.evaluate("typeof window.ran") == "undefined"
            assert page.evaluate("document.querySelectorAll('table.trials tr').length") > len(texts)
        # Its own script does run: it fetches the page again.
        again = "performance.getEntriesByType('resource').some(each => each.name.endsWith('/live'))"
        assert page.open(f"{address}/live", again) is not None
        strays = {each for each in asked if each not in (*pages, "/favicon.ico")}
        assert strays == set()
        assert asked.count("/live") >= 3
