"""The documentation as a site: it builds without a warning, leads to every page, needs no host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.markdown import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?([^\"\s>]+)")
FETCHED = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^)\"']+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def html(page: Path) -> Path:
    found = page.relative_to(ROOT / "docs").with_suffix(".html")
    return found.with_name("index.html") if found.name == "README.html" else found


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text()
    [navigation] = re.findall(r'<nav class="md-nav md-nav--primary.*?</nav>\s*</div>', start, re.S)
    linked = {link.partition("#")[0] for link in re.findall(r'href="([^"]+)"', navigation)}
    missing = [str(html(page)) for page in PAGES if str(html(page)) not in linked]
    assert missing == [], "name its folder in FOLDERS of docs/site/hooks.py"


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    foreign = set()
    for page in site.rglob("*.html"):
        foreign |= {link for link in LOADED.findall(page.read_text()) if "//" in link}
    for sheet in site.rglob("*.css"):
        foreign |= set(FETCHED.findall(sheet.read_text()))
    assert foreign == set()


def test_blocks_and_lists_are_what_they_are_on_a_repository_s_page(site: Path) -> None:
    for page in PAGES:
        text = (site / html(page)).read_text()
        assert "```" not in re.sub(r"<pre.*?</pre>|<code.*?</code>", "", text, flags=re.S), page
        assert not re.search(r"<p>[^<]*\n[*-] ", text), page


def test_the_reference_comes_from_docstrings(site: Path) -> None:
    text = (site / "reference/interfaces.html").read_text()
    assert "Bring" in text or "Yield" in text
    assert 'id="penstock.interfaces.Source.poll"' in text
    assert ":::" not in text


def test_the_tool_that_makes_the_site_is_not_in_it(site: Path) -> None:
    assert not list(site.rglob("hooks*"))
