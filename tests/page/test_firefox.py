"""The page in Firefox, by hand: `apt-get install firefox-esr`, then `python -m pytest -m long tests/page`. It is driven over
WebDriver BiDi, https://w3c.github.io/webdriver-bidi, by the few commands that this file needs."""

import asyncio
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from support import ROOT, profiles
from support.tab import START
from tornado.websocket import websocket_connect

from minivan import image, paths
from minivan.reference import softmax

pytestmark = pytest.mark.long

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {"ui.prefersReducedMotion": 1, "remote.active-protocols": 1, "datareporting.policy.dataSubmissionEnabled": False}
ENOUGH = 90  # seconds, for anything that is waited for


class Firefox:
    """One session with one tab: `await firefox(METHOD, ...)` sends a command; `events` are what it reported by itself."""

    def __init__(self, socket):
        self.socket, self.number, self.events, self.context = socket, 0, [], None

    async def __call__(self, method, **parameters):
        self.number += 1
        await self.socket.write_message(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await asyncio.wait_for(self.socket.read_message(), ENOUGH))
            if message.get("id") == self.number:
                assert message["type"] == "success", message
                return message["result"]
            self.events.append(message)

    async def start(self):
        await self("session.new", capabilities={})
        await self("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.context = (await self("browsingContext.getTree"))["contexts"][0]["context"]

    async def evaluate(self, expression):
        target = {"context": self.context}
        answer = await self("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    async def wait(self, condition):
        for _ in range(10 * ENOUGH):
            if await self.evaluate(condition):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"it never came true: {condition}")

    async def act(self, kind, actions, **more):
        await self(
            "input.performActions", context=self.context, actions=[{"type": kind, "id": kind, "actions": actions, **more}]
        )

    async def point(self, selector, x, y, click=False):
        """Move the mouse to a place of an element, in CSS pixels from its corner, and click there."""
        box = await self.evaluate(
            f"""(() => {{
                const element = document.querySelector({selector!r});
                element.scrollIntoView({{ block: "center" }});
                const {{ left, top }} = element.getBoundingClientRect();
                return JSON.stringify([left, top]);
            }})()"""
        )
        left, top = json.loads(box)
        actions = [{"type": "pointerMove", "x": round(left + x), "y": round(top + y)}]
        if click:
            actions += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        await self.act("pointer", actions, parameters={"pointerType": "mouse"})

    async def press(self, selector, key):
        await self.evaluate(f"document.querySelector({selector!r}).focus()")
        await self.act("key", [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}])

    async def choose(self, file):
        """Give a file to the page's chooser of photos."""
        chooser = {"type": "css", "value": "#chooser"}
        nodes = (await self("browsingContext.locateNodes", context=self.context, locator=chooser))["nodes"]
        await self("input.setFiles", context=self.context, element={"sharedId": nodes[0]["sharedId"]}, files=[str(file)])


async def opened(folder, what):
    """Start Firefox with a fresh profile, do `what(firefox)` with it, and end it."""
    profile = folder / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0", "about:blank"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stderr=pipe, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not (found := re.search(rb"ws://\S+", await asyncio.wait_for(process.stderr.readline(), ENOUGH))):
            pass
        firefox = Firefox(await websocket_connect(f"{found[0].decode()}/session", max_message_size=1 << 28))
        await firefox.start()
        await what(firefox)
    finally:
        process.terminate()
        await process.wait()


async def numbers(firefox, layers):
    assert "largest difference 0." in await firefox.evaluate("document.getElementById('agreement').textContent")
    for step, path in {"near": f"{paths.UNIT}.conv0", "attention": paths.FACTOR}.items():
        text = await firefox.evaluate(f"document.getElementById('value-{step}').textContent")
        value = float(text.replace("\u2212", "-"))
        assert value == pytest.approx(layers[f"block1.0.{path}"][25, 16, 3], abs=5.01e-4)


async def hands(firefox):
    shown = "document.getElementById('hook-where').textContent"
    await firefox.point("#map-near .map", 3, 3)
    await firefox.wait(f"{shown}.endsWith('row 0, column 0')")
    await firefox.point("#map-near .map", 3, 3, click=True)
    await firefox.wait("document.getElementById('held').textContent.includes('is held')")
    await firefox.press("#map-u .map", "\ue015")  # arrow down
    await firefox.wait(f"{shown}.endsWith('row 1, column 0')")
    await firefox.wait("location.hash.includes('place=1,0')")
    await firefox.evaluate("location.hash = 'block=block4.1&channel=255&place=2,2'")
    await firefox.wait(f"{shown} === 'block4.1, channel 255, row 2, column 2'")
    for width in (375, 1280, 1920):
        await firefox("browsingContext.setViewport", context=firefox.context, viewport={"width": width, "height": 900})
        assert await firefox.evaluate("document.documentElement.scrollWidth") <= width


async def photos(firefox, model, folder):
    """A JPEG within half a point, also of other colours than sRGB's, a PNG that its EXIF turns to the digit shown, and a file
    that is no image."""
    jpeg, turned, broken = ROOT / "examples" / "cat.jpg", folder / "turned.png", folder / "broken.jpg"
    wide = folder / "wide.jpg"
    wide.write_bytes(profiles.with_profile(Image.open(ROOT / "examples" / "four.jpg"), "JPEG", profiles.profile("Display P3")))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(jpeg).convert("RGB").save(turned, exif=exif)
    broken.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    read = "JSON.stringify([...document.querySelectorAll('#answer .{}')].map((each) => each.textContent))"
    for photo, apart in ((jpeg, 0.5), (turned, 0.0501), (wide, 0.5)):
        await firefox.choose(photo)
        await firefox.wait(f"document.body.dataset.ready === '{photo.name}'")
        labels, shares = [json.loads(await firefox.evaluate(read.format(kind))) for kind in ("label", "p")]
        probabilities = softmax(model(image.prepare(photo, model.card.preprocessing)[None])[0].astype(np.float64))
        best = np.argsort(-probabilities)[:5]
        assert labels == [model.card.label(i).short for i in best]
        assert [float(share[:-2]) for share in shares] == pytest.approx(100 * probabilities[best], abs=apart)
    await firefox.choose(broken)
    await firefox.wait("document.getElementById('drop-said').textContent.startsWith('broken.jpg is no image')")


async def saving(firefox):
    """A section becomes a PNG of twice its size that is not empty."""
    await firefox.evaluate(
        """(() => {
            const { createObjectURL } = URL;
            URL.createObjectURL = (blob) => createObjectURL((window.saved = blob));
            HTMLAnchorElement.prototype.click = () => {};
        })()"""
    )
    await firefox.point("#chain .save", 20, 10, click=True)
    await firefox.wait("Boolean(window.saved) || document.querySelector('#chain .save').textContent.startsWith('This browser')")
    width, colours, wanted = json.loads(
        await firefox.evaluate(
            """(async () => {
                const image = await createImageBitmap(window.saved);
                const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
                context.drawImage(image, 0, 0);
                const { data } = context.getImageData(0, 0, image.width, image.height);
                const colours = new Set(new Uint32Array(data.buffer)).size;
                return JSON.stringify([image.width, colours, document.documentElement.clientWidth]);
            })()"""
        )
    )
    assert width == 2 * wanted and colours > 1000


def test_the_page_works_in_firefox(written, model, layers, tmp_path):
    assert FIREFOX, "there is no Firefox: apt-get install firefox-esr"

    async def look(firefox):
        await firefox("browsingContext.navigate", context=firefox.context, url=f"file://{written}#{START}", wait="complete")
        await firefox.wait("document.body.dataset.ready === 'coffee'")
        await numbers(firefox, layers)
        await hands(firefox)
        await photos(firefox, model, tmp_path)
        await saving(firefox)
        said = [event["params"] for event in firefox.events if event["method"] == "log.entryAdded"]
        assert [entry["text"] for entry in said if entry["level"] in ("warn", "error")] == []
        asked = [e["params"]["request"]["url"] for e in firefox.events if e["method"] == "network.beforeRequestSent"]
        assert [url for url in asked if not url.startswith(("file:", "blob:", "data:", "about:"))] == []

    asyncio.run(opened(tmp_path, look))
