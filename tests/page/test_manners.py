"""The page's manners in Chromium: who uses the keyboard or sees badly, what moves by itself, what would tire the browser."""

import pytest
from support.tab import Opened

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.mark.parametrize(
    ("scheme", "rules"),
    [("light", {"resultTypes": ["violations"]}), ("dark", {"runOnly": ["color-contrast"], "resultTypes": ["violations"]})],
)
def test_axe_finds_nothing_serious(opened, scheme, rules):
    from axe_playwright_python.sync_playwright import Axe

    tab = opened.open()
    tab.emulate_media(color_scheme=scheme)
    tab.locator("[data-step='3']").press("Enter")
    tab.wait_for_selector("#guide:focus")
    found = Axe().run(tab, options=rules).response["violations"]
    tab.locator("#guide .shut").click()
    tab.emulate_media(color_scheme="light")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_the_keyboard_does_not_lose_its_place(opened):
    """What is drawn anew keeps the focus; the first Tab and Enter lead to the three steps, and leave the address alone."""
    tab = opened.open()
    tab.locator("#mixed-sum button").nth(2).press("Enter")
    tab.wait_for_function("() => !document.getElementById('hook-where').textContent.includes('channel 25,')")
    assert tab.evaluate("[...document.querySelectorAll('#mixed-sum button')].indexOf(document.activeElement)") == 2
    tab.locator(".skip").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "chain" and "photo=coffee" in tab.evaluate("location.hash")


def test_the_pointer_moves_by_itself_until_it_is_stopped(browser, written):
    context = browser.new_context()
    page = Opened(context, written)
    tab = page.load()
    there = tab.inner_text("#hook-where")
    tab.wait_for_function("there => document.getElementById('hook-where').textContent !== there", arg=there)
    tab.click("#still")
    assert not tab.is_visible("#still")
    context.close()


def test_what_needs_a_photo_waits_for_the_first(browser, written):
    """Until it is computed there is nothing that a key, a click or a choice could take apart, and nothing raises."""
    context = browser.new_context(reduced_motion="reduce")
    tab, raised = context.new_page(), []
    tab.on("pageerror", lambda error: raised.append(str(error)))
    tab.add_init_script("window.Worker = class { postMessage() {} };")
    tab.goto(f"file://{written}")
    tab.wait_for_selector("#sliders input")
    parts = tab.evaluate(
        """() => {
            const parts = [...document.querySelectorAll("button, input, select, [tabindex='0']")];
            const taken = parts.filter((each) => {
                each.focus();
                return document.activeElement === each;
            });
            return taken.map((each) => each.id || each.className || each.dataset.language || each.textContent);
        }"""
    )
    sliders = [f"slider-{name}" for name in ("K", "d", "near", "C", "side")]
    assert set(parts) == {"en", "zh", "choose", "thumb", "save", *sliders}
    for part in ("#hook .save", "#whatif .save", "[data-language='zh']"):
        tab.locator(part).press("Enter")
    assert raised == []
    context.close()


def test_where_the_worker_fails_the_page_says_so(browser, written):
    context = browser.new_context()
    tab = context.new_page()
    tab.add_init_script(
        "window.Worker = class { postMessage() { setTimeout(() => this.onerror({ message: 'out of memory' })); } };"
    )
    tab.goto(f"file://{written}")
    tab.wait_for_function("() => document.getElementById('drop-said').textContent.includes('(out of memory)')")
    assert "busy" not in (tab.get_attribute("body", "class") or "")
    context.close()


def test_where_the_worker_dies_later_no_answer_is_awaited_for_ever(browser, written):
    """Each part that has asked it says that it cannot compute; what is drawn stays."""
    context = browser.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.add_init_script(
        """const Whole = window.Worker;
        window.Worker = class extends Whole {
            constructor(source) { super(source); window.engine = this; }
            postMessage(asked) {
                if (asked.change && asked.change !== "none") setTimeout(() => this.onerror({ message: "out of memory" }));
                else super.postMessage(asked);
            }
        };"""
    )
    tab.goto(f"file://{written}#whatif=none")
    tab.wait_for_function("() => document.body.dataset.ready === 'coffee'")
    tab.click("#means")
    tab.wait_for_function("() => document.getElementById('means-answer').textContent.includes('(out of memory)')")
    tab.check("[name='change'][value='one']")
    tab.wait_for_function("() => document.getElementById('change-answer').textContent.includes('(out of memory)')")
    tab.locator("[data-step='6']").click()
    tab.locator("[data-choice='0']").click()
    tab.wait_for_function("() => document.getElementById('guide-answer').textContent.includes('(out of memory)')")
    assert "largest difference 0." in tab.inner_text("#agreement")
    context.close()


@pytest.mark.parametrize("part", [0.5, 1])
def test_a_page_that_cannot_begin_says_so(browser, written, tmp_path, part):
    """A file that was cut off on its way, and a browser that lets a file from a disk have no worker."""
    file, text = tmp_path / "page.html", written.read_bytes()
    file.write_bytes(text[: int(part * len(text))])
    context = browser.new_context()
    tab = context.new_page()
    tab.add_init_script("window.Worker = class { constructor() { throw new Error('not from a disk'); } };")
    tab.goto(f"file://{file}")
    if part == 1:
        tab.wait_for_function("() => document.getElementById('drop-said').textContent.includes('(not from a disk)')")
    assert tab.is_visible("#opening") == (part < 1)
    context.close()


def test_many_clicks_are_few_forward_passes(browser, written):
    """The worker has one question at a time, and of those that wait only the newest of each part."""
    context = browser.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.add_init_script(
        """const Whole = window.Worker;
        window.asked = 0;
        window.Worker = class extends Whole {
            postMessage(question) {
                window.asked += 1;
                super.postMessage(question);
            }
        };"""
    )
    tab.goto(f"file://{written}#whatif=none")
    tab.wait_for_function("() => document.body.dataset.ready === 'coffee'")
    before = tab.evaluate("window.asked")
    tab.evaluate(
        """() => {
            const { left, top } = document.getElementById("poke").getBoundingClientRect();
            for (let i = 0; i < 20; i++) {
                const place = { clientX: left + 20 + 5 * i, clientY: top + 20, detail: 1 };
                document.getElementById("poke").dispatchEvent(new MouseEvent("click", place));
            }
        }"""
    )
    tab.wait_for_selector("#poke-reach .reaches")
    assert tab.evaluate("window.asked") - before == 2
    context.close()


def test_a_moving_pointer_changes_the_address_seldom(opened):
    """Browsers allow some 100 changes in half a minute, and refuse or complain from there on."""
    tab = opened.open()
    calls = tab.evaluate(
        """async () => {
            const { replaceState } = history;
            let calls = 0;
            history.replaceState = (...all) => { calls += 1; replaceState.apply(history, all); };
            const map = document.querySelector("#map-u .map");
            const { left, top } = map.getBoundingClientRect();
            for (let i = 0; i < 48; i++) {
                const place = { clientX: left + 4 * i, clientY: top + 4 * i, pointerType: "mouse", bubbles: true };
                map.dispatchEvent(new PointerEvent("pointermove", place));
                await new Promise(requestAnimationFrame);
            }
            history.replaceState = replaceState;
            return calls;
        }"""
    )
    assert calls < 12


def test_a_row_under_the_pointer_is_drawn_once(opened):
    tab = opened.open()
    tab.evaluate(
        """() => {
            const counter = new MutationObserver(() => { window.drawn += 1; });
            window.drawn = 0;
            counter.observe(document.getElementById("near-sum"), { childList: true });
        }"""
    )
    tab.locator("#near-sum tr").nth(1).hover()
    for _ in range(8):
        opened.drawn()
    assert 1 <= tab.evaluate("window.drawn") <= 2
