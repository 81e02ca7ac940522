"""The page as a file, and a browser that opens it: Debian's Chromium, driven by Playwright."""

import os
import shutil

import pytest
from support import ROOT

import minivan
from minivan import image, page, shipped
from minivan.checkpoint import bundled

CHROMIUM = os.environ.get("MINIVAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
NODE = shutil.which("node")


@pytest.fixture(scope="session")
def node():
    if NODE is None:
        pytest.skip("there is no node: apt-get install nodejs")
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
        pytest.skip("there is no Chromium: apt-get install chromium, or name one with MINIVAN_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Opened:
    """One opened page, and all that it must not do: complain, or ask for anything."""

    def __init__(self, context, file):
        self.tab, self.file, self.complaints, self.requests = context.new_page(), file, [], []
        self.tab.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        context.on("request", lambda request: self.requests.append(request.url))

    def open(self, address="", photo="coffee"):
        self.tab.goto(f"file://{self.file}{address}")
        self.shown(photo)
        return self.tab

    def shown(self, photo):
        self.tab.wait_for_function("name => document.body.dataset.ready === name", arg=photo)


@pytest.fixture
def opened(browser, written):
    """A tab at the width of a laptop, in which nothing moves by itself."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = Opened(context, written)
    yield page
    context.close()
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "blob:", "data:"))] == []
