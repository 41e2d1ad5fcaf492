"""The site builds without a warning, and all links within it work."""

import json
import re
import runpy
import statistics
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gcnlab.experiments.paper import published_table
from gcnlab.experiments.tables import paper_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


class Page(HTMLParser):
    """The ids of a page, what it links to, and its text."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.text = set(), [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.links += [found[name] for name in ("href", "src") if found.get(name)]

    def handle_data(self, data):
        self.text += data


def build(site):
    """Run Sphinx in a process of its own, without pytest's warning filters."""
    command = [sys.executable, ROOT / "docs/build.py", site]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stderr
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    return folder.resolve(), pages


def broken(pages):
    """(page, link) of every link to a file or place that is not there."""
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            missing = not target.exists()
            if target in pages and parts.fragment:
                missing = unquote(parts.fragment) not in pages[target].ids
            if missing:
                found.append((path.name, link))
    return found


def test_every_notebook_is_a_page(site):
    folder, pages = site
    for notebook in (ROOT / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in notebook.parts:
            assert folder / notebook.relative_to(ROOT).with_suffix(".html") in pages


def test_links_within_the_site_lead_somewhere(site):
    assert broken(site[1]) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a> <a href="#gone">a</a>')
    (tmp_path / "b.html").write_text('<p id="here"><a href="c.html">c</a> <a href="a.html">a</a>')
    pages = {path: Page(path) for path in tmp_path.glob("*.html")}
    assert sorted(broken(pages)) == [("a.html", "#gone"), ("b.html", "c.html")]


def test_tables_show_the_papers_scores_and_ours(site):
    folder, pages = site
    words = pages[folder / "docs/paper_tables.html"].text.split()
    papers = [
        value
        for line in published_table(7) + published_table(9)
        for value in list(line.values())[1:]
    ]
    for number in range(1, 7):
        for cell in paper_table(number).cells:
            papers += [f"{score:.1f}" for score in cell.paper.values()]
    assert set(filter(None, papers)) <= set(words)
    runs = (ROOT / "data/results/shapes").glob("conv1x1-seed*/result.json")
    scores = [json.loads(path.read_text())["scores"]["miou"] for path in runs]
    ours = [f"{statistics.fmean(scores):.1f}", "±", f"{statistics.stdev(scores):.1f}"]
    assert " ".join(ours) in " ".join(words)


def test_the_readmes_picture_shows_what_the_readme_says(tmp_path, capsys):
    """Under a 1×1 head the field covers most of a small object, and little of an enlarged one; under GCN most of both."""
    runpy.run_path(str(ROOT / "docs/figure3.py"))["main"](tmp_path / "figure3.png")
    shares = re.findall(r"covers (\d+)% of", capsys.readouterr().out)
    small, plain, gcn = map(int, shares)
    assert plain < 50 < gcn < small
    assert (tmp_path / "figure3.png").stat().st_size > 10_000


def test_the_reference_has_signatures_and_docstrings(site):
    folder, pages = site
    page = pages[folder / "docs/api.html"]
    assert "gcnlab.receptive.valid_field" in page.ids
    assert "gcnlab.models.GlobalConvBlock.forward" in page.ids
    assert "Define the computation performed at every call" not in page.text
