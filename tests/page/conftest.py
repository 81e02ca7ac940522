"""The page as a file, and a browser that opens it: Debian's Chromium, driven by Playwright."""

import os
import shutil

import pytest
from support import ROOT
from support.tab import LAPTOP, Opened

import minivan
from minivan import image, page, shipped
from minivan.checkpoint import bundled

CHROMIUM = os.environ.get("MINIVAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
NODE = shutil.which("node")


@pytest.fixture(scope="session")
def node():
    if NODE is None:
        pytest.fail("there is no node: apt-get install nodejs")
    return NODE


@pytest.fixture(scope="session")
def model():
    return minivan.load(bundled()[0], engine="exact")


@pytest.fixture(scope="session")
def written(model, tmp_path_factory):
    """The page of the photos that come with minivan, coffee first."""
    file = tmp_path_factory.mktemp("page") / "explore.html"
    names = ("coffee", "cat", "rocket", "astronaut")
    page.write(file, model, [page.look(model, name, image.decode(shipped.photo(f"{name}.jpg"))) for name in names])
    return file


@pytest.fixture(scope="session")
def layers(model):
    """Every layer of coffee.jpg on the engine `exact`, without the batch's axis."""
    found = {}
    x = image.prepare(ROOT / "examples" / "coffee.jpg", model.card.preprocessing)
    model(x[None], hook=lambda path, array: found.__setitem__(path, array[0]))
    return found


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.fail("there is no Chromium: apt-get install chromium, or name one with MINIVAN_CHROMIUM")
    from playwright.sync_api import sync_playwright  # the extra `page`

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def desk(browser, written):
    """A tab at the width of a laptop, in which nothing moves by itself; the tests of a module share it."""
    context = browser.new_context(viewport=LAPTOP, reduced_motion="reduce")
    yield Opened(context, written)
    context.close()


@pytest.fixture
def opened(desk):
    desk.tab.set_viewport_size(LAPTOP)
    yield desk
    complaints, requests = desk.complaints[:], desk.requests[:]
    desk.complaints.clear()
    desk.requests.clear()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:", "about:"))] == []
