"""Pages: one file, nothing from outside, every text escaped, data that come back as they were."""

import base64
import gzip
import html
import re
from html.parser import HTMLParser

import pytest

from sciddiff.report import page
from sciddiff.report.figures import Look, page_svg

HOSTILE = '<img src=x onerror="alert(1)"> </script>'
VOID = {"meta", "img", "input", "br"}


class Balance(HTMLParser):
    """Raises where an element is not closed in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def whole(**more):
    parts = [
        page.heading(HOSTILE, HOSTILE, HOSTILE),
        page.tiles([page.tile(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)]),
        page.provenance({"name": HOSTILE}, HOSTILE),
        page.inline_png(b"png", HOSTILE),
    ]
    return page.document(HOSTILE, parts, "", "", {"data": page.pack("x")}, **more)


@pytest.mark.parametrize("viewer", [False, True])
def test_page_is_well_formed_and_names_no_other(viewer):
    text = whole(viewer=viewer)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert links and all(link.startswith("data:") for link in links)
    assert "default-src 'none'" in text and "http" not in text.replace("http-equiv", "")
    assert "<img src=x" not in text and html.escape(HOSTILE) in text


def test_packed_text_comes_back_and_is_reproducible():
    packed = page.pack("Å < b")
    assert gzip.decompress(base64.b64decode(packed)).decode() == "Å < b"
    assert packed == page.pack("Å < b") and "<" not in packed


def test_nothing_known_is_nothing_said():
    assert page.provenance({}, "How it was made") == ""


def test_colours_of_figures_become_those_of_the_page():
    pytest.importorskip("matplotlib")
    look = Look("protein", ink="#010203", ticks="#010203", edge="#040506", grid="#040506",
                swaps={"#010203": "currentColor", "#040506": "var(--line)"})  # fmt: skip
    with look.new_figure(2.0, 2.0) as figure:
        figure.subplots().set_title("x")
        svg = look.svg_text(figure, "one", 'what "it" shows')
    assert "currentColor" in svg and "#010203" not in svg and 'id="one-' in svg
    assert 'aria-label="what &quot;it&quot; shows"' in svg
    assert re.match(r"<svg [^>]*>", svg) and " width=" not in svg[: svg.index(">")]


def test_identifiers_and_their_uses_are_renamed_together():
    svg = '<svg width="3" height="4"><g id="a"/><use xlink:href="#a"/><b f="url(#a)"/></svg>'
    found = page_svg(svg, "n", "d", {})
    assert found.count("n-a") == 3 and "width" not in found
