"""A browser's tab with the page of `explore`, by way of Playwright."""

LAPTOP = {"width": 1280, "height": 900}
START = "photo=coffee&block=block1.0&channel=25&place=16,3"  # a place with padding below it and to its left


class Opened:
    """One tab with the page, and all that it must not do: complain, or ask for anything."""

    def __init__(self, context, file):
        self.tab, self.file, self.complaints, self.requests = context.new_page(), file, [], []
        self.tab.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        context.on("request", lambda request: self.requests.append(request.url))

    def load(self, address="", photo="coffee"):
        """Open the page anew at an address."""
        self.tab.goto("about:blank")
        self.tab.goto(f"file://{self.file}{address}")
        self.shown(photo)
        return self.tab

    def open(self, address=START, photo="coffee"):
        """Go to a view, in the page that is open where there is one: to load it takes longer than most tests."""
        if not self.tab.url.startswith("file:"):
            return self.load(f"#{address}", photo)
        self.tab.mouse.move(1, 1)
        self.tab.evaluate("hash => { location.hash = hash; dispatchEvent(new Event('hashchange')); }", f"{address}&lang=en")
        self.shown(photo)
        self.drawn()
        return self.tab

    def shown(self, photo):
        self.tab.wait_for_function("name => document.body.dataset.ready === name", arg=photo)

    def drawn(self):
        """Wait until what was asked for is drawn, in the next frame."""
        self.tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
