"""The gallery's page, as a browser shows it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Browser

from viztool.gallery import PIECES
from viztool.gallery.html import page

GALLERY = Path(__file__).parents[1] / "gallery"
ROOMS = dict.fromkeys(piece.room for piece in PIECES)


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def shown(browser):
    browser.resize(1280)
    browser.open((GALLERY / "index.html").as_uri())
    return browser


def visible(browser):
    return browser.run(
        "[...document.querySelectorAll('article')].filter(card => card.checkVisibility()).map(c => c.id)"
    )


def test_the_page_is_the_one_it_writes(monkeypatch):
    monkeypatch.chdir(GALLERY.parent)
    assert (GALLERY / "index.html").read_text() == page(Path("gallery"), PIECES)


def test_every_piece_has_its_picture_its_words_and_its_command(shown):
    assert visible(shown) == [piece.name for piece in PIECES]
    for piece in PIECES:
        numbers = piece.read(GALLERY)
        card = f"document.getElementById('{piece.name}')"
        assert shown.run(f"{card}.querySelector('h2').innerText") == piece.title
        assert shown.run(f"{card}.querySelector('code').innerText") == numbers["command"]
        assert shown.run(f"{card}.querySelector('img').alt") == f"{piece.title}. {piece.caption}"
        shown.run(f"{card}.querySelector('img').decode()")
        assert shown.run(f"{card}.querySelector('img').naturalWidth") > 300
        for claim in numbers.get("claims", ()):
            text = shown.run(f"{card}.innerText")
            assert claim["sentence"] in text
            assert claim["zh"] in text
            assert claim["condition"] in text


def test_nothing_is_wider_than_the_page(shown):
    for width in (1280, 800, 360):
        shown.resize(width)
        assert shown.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_shows_its_own_pieces(shown, room):
    shown.run(f"document.querySelector('[data-room=\"{room}\"]').click()")
    expected = [piece.name for piece in PIECES if piece.room == room]
    assert visible(shown) == expected
    assert shown.run("document.getElementById('count').innerText") == f"{len(expected)} of {len(PIECES)}"


def test_searching_by_keys(shown):
    shown.press("/")
    for letter in "guided":
        shown.press(letter)
    assert shown.run("document.activeElement.id") == "search"
    found = visible(shown)
    assert "attribute_randomized" in found
    assert len(found) < len(PIECES)


def test_a_picture_is_enlarged_and_turned_by_keys(shown):
    first, second = PIECES[0], PIECES[1]
    shown.run(f"document.querySelector('#{first.name} button').focus()")
    shown.press("Enter")
    assert shown.run("document.querySelector('dialog').open")
    shown.run("document.querySelector('dialog img').decode()")
    assert shown.run("document.querySelector('dialog img').naturalWidth") == 1340
    assert shown.run("document.querySelector('dialog img').width") <= 1280
    shown.press(" ")
    assert shown.run("document.querySelector('dialog img').width") == 1340
    shown.press("ArrowRight")
    assert shown.run("document.getElementById('zoomed').innerText") == second.title
    assert shown.run("location.hash") == f"#{second.name}"
    shown.press("ArrowLeft")
    shown.press("ArrowLeft")
    assert shown.run("document.getElementById('zoomed').innerText") == PIECES[-1].title
    shown.press("Escape")
    shown.run("new Promise(done => setTimeout(done, 100))")
    assert not shown.run("document.querySelector('dialog').open")
    assert shown.run("document.activeElement.closest('article').id") == PIECES[-1].name
    assert shown.run("location.hash") == ""


def test_a_link_opens_its_picture(browser):
    browser.open("about:blank")
    browser.open(f"{(GALLERY / 'index.html').as_uri()}#{PIECES[1].name}")
    assert browser.run("document.querySelector('dialog').open")
    assert browser.run("document.getElementById('zoomed').innerText") == PIECES[1].title


class Sources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "data-picture")]


def test_it_needs_nothing_from_elsewhere():
    parser = Sources()
    parser.feed((GALLERY / "index.html").read_text())
    local = [source for source in parser.found if not source.startswith("data:")]
    assert len(local) >= 2 * len(PIECES)
    assert [source for source in local if not (GALLERY / source).exists()] == []


def test_escape_ends_a_search(shown):
    shown.press("/")
    shown.press("q")
    assert len(visible(shown)) < len(PIECES)
    shown.press("Escape")
    assert visible(shown) == [piece.name for piece in PIECES]
    assert shown.run("document.activeElement.id") == ""


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_it_is_as_light_as_the_system_until_one_chooses(browser, scheme, other):
    pages = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 29)"}
    browser.page.emulate_media(color_scheme=scheme)
    browser.open((GALLERY / "index.html").as_uri())
    background = "getComputedStyle(document.body).backgroundColor"
    assert browser.run(background) == pages[scheme]
    browser.page.click("#theme")
    assert browser.run(background) == pages[other]
    assert browser.run("document.getElementById('theme').textContent").lower() == scheme
    browser.page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_axe_is_violated(browser, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    browser.page.emulate_media(color_scheme=scheme)
    browser.open((GALLERY / "index.html").as_uri())
    browser.run(axe.axe_script)
    found = browser.run("axe.run().then(found => found.violations.map(one => [one.id, one.nodes.map(n => n.html)]))")
    browser.page.emulate_media(color_scheme="light")
    assert found == []
