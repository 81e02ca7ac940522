"""Make the slides of the 90 minutes: one HTML file that needs no network and no other file.

    python examples/teaching/slides.py [-o slides.html]

The figures are those of the executed notebooks and the diagrams; the numbers are computed here by minivan, or are what the
notebooks printed. In a browser: arrow keys or a click turn the page, printing gives one slide a sheet.
"""

from __future__ import annotations

import argparse
import base64
import html
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import nbformat
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent
sys.path.insert(0, str(EXAMPLES.parent))  # this clone's minivan, whichever is installed

from minivan import lka, summary, variants  # noqa: E402
from minivan.geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL  # noqa: E402

BUILT = HERE / "slides.html"
Mask: TypeAlias = npt.NDArray[np.bool_]


class Slide(NamedTuple):
    """One claim as the title, what supports it, and what the class is asked. `body` is HTML."""

    claim: str
    body: str
    ask: str = ""


@cache
def cells(lesson: str) -> list[nbformat.NotebookNode]:
    (path,) = (path for path in EXAMPLES.glob(f"{lesson}_*.ipynb") if not path.name.endswith(".zh.ipynb"))
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def picture(png: bytes, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def figure(lesson: str, drawn_by: str, alt: str) -> str:
    """The picture of the one cell of a notebook whose source contains `drawn_by`."""
    (cell,) = (cell for cell in cells(lesson) if drawn_by in cell.source)
    (png,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    return picture(base64.b64decode(png), alt)


def printed(lesson: str, pattern: str) -> str:
    """What a notebook printed: the group of the one place that a pattern fits."""
    text = "".join(output.text for cell in cells(lesson) for output in cell.outputs if output.output_type == "stream")
    (found,) = re.findall(pattern, text)
    return str(found)


def table(head: list[str], rows: list[list[str]]) -> str:
    def row(tag: str, values: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"

    return f"<table>{row('th', head)}{''.join(row('td', values) for values in rows)}</table>"


def line(text: str) -> str:
    return f"<p>{text}</p>"


def words(*lines: str) -> str:
    """Lines that have a slide to themselves, larger."""
    return f'<div class="words">{"".join(line(text) for text in lines)}</div>'


def grid(read: Mask, colour: str, caption: str) -> str:
    """The positions that a step reads, as squares, and what it is called."""
    side = len(read)
    squares = "".join(f"M{column} {row}h.9v.9h-.9z" for row, column in np.argwhere(read))
    ground = f'<path class="map" d="M-.2 -.2h{side + 0.3}v{side + 0.3}h-{side + 0.3}z"/>'
    drawing = f'<svg viewBox="-.5 -.5 {side + 1} {side + 1}">{ground}<path fill="{colour}" d="{squares}"/></svg>'
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def steps() -> str:
    """What each of the three steps reads, and what the first two read together."""
    masks = lka.read_by(LARGE_KERNEL, CONV_SPATIAL.dilation)
    near, far, side = CONV0.side, CONV_SPATIAL.side, len(masks["both"])
    panels = (
        grid(masks["local"], "#D55E00", f"near<br>{near} x {near}"),
        grid(masks["dilated"], "#0072B2", f"far<br>{far} x {far}, {CONV_SPATIAL.dilation} apart"),
        grid(masks["both"], "#7A7A7A", f"both in turn<br>{side} x {side}"),
        grid(masks["pointwise"], "#009E73", "mix<br>all channels"),
    )
    return f'<div class="grids">{"".join(panels)}</div>'


def prices() -> str:
    C = 64
    dense = lka.dense_parameters(C, LARGE_KERNEL)
    ways = {
        "dense": dense,
        "depthwise, then 1 x 1": lka.mobilenet_parameters(C, LARGE_KERNEL),
        "LKA": lka.lka_parameters(C, LARGE_KERNEL, CONV_SPATIAL.dilation),
    }
    rows = [
        [name, f"{weights:,}", f"{dense / weights:.0f} times fewer" if weights < dense else ""]
        for name, weights in ways.items()
    ]
    return table([f"{LARGE_KERNEL} x {LARGE_KERNEL} on {C} channels", "weights", ""], rows)


def growth() -> str:
    C, K, d = 64, LARGE_KERNEL, CONV_SPATIAL.dilation
    rows = []
    for side in (7, 28, 56, 112, 224):
        ratio = lka.self_attention_multiply_adds(C, side**2) / lka.lka_attention_multiply_adds(C, K, d, side**2)
        rows.append([f"{side} x {side}", f"{ratio:,.1f} times", f"{4 * side**4 / 2**20:,.1f} MiB"])
    return table(["map", "work of self-attention / VAN's", "its table of scores"], rows)


def the_23() -> str:
    far, near = CONV_SPATIAL.dilation * (CONV_SPATIAL.side - 1) + 1, CONV0.side
    return (
        f"The far kernel spans {CONV_SPATIAL.dilation} x {CONV_SPATIAL.side - 1} + 1 = {far} positions; at both ends "
        f"stands a {near} x {near} that sees {near // 2} further: {far} + 2 x {near // 2} = "
        f"{lka.support(LARGE_KERNEL, CONV_SPATIAL.dilation)}."
    )


def three_rules() -> str:
    best = lka.best_dilation(LARGE_KERNEL), lka.best_dilation(LARGE_KERNEL, lka.tiling_weights)
    return (
        f"Near kernel 2d - 1 wide, the paper's choice: d = {best[0]} is cheapest. Near kernel d wide: d = {best[1]} would be."
    )


def work() -> str:
    total = summary.totals(summary.summarise(variants.variant("b0")))[1]
    share = printed("02", r"Measured: ([\d.]+) % in kernels of 1 x 1")
    return f"VAN-B0 takes {total / 1e6:,.0f} million multiply-adds at 224 x 224: {share} % in kernels that see no neighbour."


def slides() -> list[Slide]:
    """The slides in order."""
    side = lka.support(LARGE_KERNEL, CONV_SPATIAL.dilation)
    return [
        Slide(
            "Large kernel attention",
            words("How a network looks far, cheaply, and decides what matters.", "Ninety minutes; every number is computed."),
            "Before anything else: write down how many per cent of attention values are negative.",
        ),
        Slide(
            "A convolution is one sum, moved along",
            figure("01", '"left against right"', "A photo and what three kernels of nine numbers make of it"),
            "Which of the three kernels does not notice if someone turns on the light?",
        ),
        Slide("One large kernel has three prices", prices(), "Which of the two steps saves more, and what is given up for it?"),
        Slide(
            "Each step reads something else",
            figure("02", "masks = {", "What a depthwise, a dilated and a pointwise kernel read"),
            "Which positions could be left out, and still nothing be missed?",
        ),
        Slide(
            "A dilated kernel alone is blind to eight pixels of nine",
            figure("02", '"8 of 9 pixels noise"', "A cat, the cat in noise, and twice the same output"),
            "What has to come before it, and how wide?",
        ),
        Slide(
            "Near, far, mix: three cheap steps",
            steps(),
            "What does each of the three not see?",
        ),
        Slide(
            f"{LARGE_KERNEL} is really {side}",
            words(the_23(), f"{side} x {side} = {side * side} positions, from {CONV0.taps + CONV_SPATIAL.taps} weights."),
            "And with d = 2, K = 7?",
        ),
        Slide(
            "The pair stamps one pattern 49 times",
            figure("03", "the product, ", "Trained kernels and their product"),
            "What can a pair never make? (Noise. Lesson 3 measures it.)",
        ),
        Slide(
            "Which d is best depends on one choice",
            figure("03", "continuous_best_dilation", "Weights against d, for two rules; and against K") + line(three_rules()),
            "Could a count of weights decide between the two rules?",
        ),
        Slide(
            "The gate multiplies by any number, negative ones too",
            figure("04", "all that a sigmoid could say", "Histogram of the attention values"),
            f"Compare with your guess: {printed('04', r'Measured: ([0-9.]+) % are negative')} % are negative.",
        ),
        Slide(
            "No convolution can do this: twice the input, four times the output",
            figure("04", "slope 1, slope 2", "Output against input: slope one for convolutions, two for the gate"),
            "And what would three gates, one after the other, do?",
        ),
        Slide("Self-attention gets dear where maps are large", growth(), "Why do transformers cut a photo into patches first?"),
        Slide(
            "Most of the work sees no neighbour",
            figure("02", "per cent of VAN-B0's multiply-adds", "Bars of multiply-adds by kind of kernel") + line(work()),
            "Why, then, is a large kernel affordable?",
        ),
        Slide(
            "The later stages know less of how the photo looked",
            figure("06", '"read from stage', "Colours of the photo as read from each of the four stages"),
            "Is that a loss?",
        ),
        Slide(
            "Looking at answers is no test",
            figure("08", "signal over error, dB", "Signal over error for five ports, layer by layer")
            + line(f"{printed('08', r'Measured: (.*?) espresso')} espresso. Four of them are wrong."),
            "How would you find the first wrong layer?",
        ),
        Slide(
            "Five things that are not so",
            "<ol>" + "".join(f"<li>{html.escape(belief)}</li>" for belief in misconceptions()) + "</ol>",
            "Pick one. Which cell would convince its owner?",
        ),
        Slide(
            "At home",
            words(
                "The page that was handed out: any photo, any place, every number opens.",
                "The notebooks: <code>jupyter lab examples</code>. <code>check(3, 1, my_answer)</code> says if you are right.",
                "The problem sheet: eight problems, paper and pencil.",
            ),
        ),
    ]


def misconceptions() -> list[str]:
    """The five beliefs, as misconceptions.md has them for headings."""
    text = (HERE / "misconceptions.md").read_text(encoding="utf-8")
    return re.findall(r'^## \d\. "(.*)"$', text, re.MULTILINE)


STYLE = """
* { box-sizing: border-box; margin: 0 }
html { font-family: "DejaVu Sans", Verdana, Arial, sans-serif; color: #111; background: #fff }
section { width: 100vw; height: 100vh; padding: 5vh 5vw 4vh; display: flex; flex-direction: column; gap: 2.5vh;
  page-break-after: always; break-after: page; overflow: hidden }
h1 { font-size: 6vh; line-height: 1.15; color: #0b3d62 }
.body { flex: 1; min-height: 0; display: flex; flex-direction: column; justify-content: center; align-items: center; gap: 3vh }
.body p, li { font-size: 4.2vh; line-height: 1.35; max-width: 84vw }
img { flex: 1; min-height: 0; max-width: 90vw; width: 100%; object-fit: contain }
.words { display: flex; flex-direction: column; gap: 4vh; width: 84vw } .body .words p { font-size: 5.4vh }
.grids { flex: 1; min-height: 0; display: flex; gap: 3vw; align-items: center; justify-content: center }
figure { width: 20vw } figcaption { font-size: 3.6vh; line-height: 1.3; text-align: center }
svg .map { fill: #f0f0f0 }
table { border-collapse: collapse; font-size: 4.6vh }
th, td { padding: 1.4vh 2.5vw; text-align: right; border-bottom: 2px solid #ccc }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
ol { padding-left: 6vw } li { margin-bottom: 1.5vh }
code { font-size: 0.9em; background: #eee; padding: 0 0.3em }
footer { display: flex; justify-content: space-between; gap: 3vw; align-items: end; font-size: 3.8vh; line-height: 1.25 }
footer b { color: #b34700 } footer span { color: #666; font-size: 2.4vh; white-space: nowrap }
@media screen { section:not(.shown) { display: none } }
@page { size: 297mm 167mm; margin: 0 }
@media print { section { width: 297mm; height: 166mm; padding: 8mm 15mm; gap: 4mm } h1 { font-size: 10mm }
  .body { gap: 5mm } .body p, li { font-size: 7mm; max-width: 250mm } .words { width: 250mm; gap: 7mm }
  .body .words p { font-size: 9mm } .grids { gap: 8mm } figure { width: 59mm } figcaption { font-size: 6mm }
  img { max-width: 267mm } table { font-size: 7.6mm }
  footer { font-size: 6.3mm } footer span { font-size: 4mm } }
"""

TURN = """
const all = [...document.querySelectorAll('section')];
const show = i => { const n = Math.max(0, Math.min(all.length - 1, i)); location.replace('#' + (n + 1));
  all.forEach((s, k) => s.classList.toggle('shown', k === n)); };
const now = () => (parseInt(location.hash.slice(1)) || 1) - 1;
addEventListener('keydown', e => { const step = {ArrowRight: 1, PageDown: 1, ' ': 1, ArrowLeft: -1, PageUp: -1}[e.key];
  if (step) { e.preventDefault(); show(now() + step) } });
addEventListener('click', e => show(now() + (e.clientX < innerWidth / 3 ? -1 : 1)));
addEventListener('hashchange', () => show(now()));
show(now());
"""


def page(make: Callable[[], list[Slide]] = slides) -> str:
    """Return the whole file. The first slide is shown without scripts, too; printing shows all."""
    made = make()
    sections = []
    for number, slide in enumerate(made, start=1):
        ask = f"<div><b>{html.escape(slide.ask)}</b></div>" if slide.ask else "<div></div>"
        shown = ' class="shown"' if number == 1 else ""
        sections.append(
            f'<section{shown} id="slide-{number}">\n<h1>{html.escape(slide.claim)}</h1>\n<div class="body">{slide.body}</div>\n'
            f"<footer>{ask}<span>{number} / {len(made)}</span></footer>\n</section>"
        )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>Large kernel attention: slides</title>\n<style>{STYLE}</style>\n"
        + "\n".join(sections)
        + f"\n<script>{TURN}</script>\n</html>\n"
    )


def write(output: Path) -> None:
    """Write the slides and say what was written."""
    output.write_text(page(), encoding="utf-8")
    print(f"{output.name}: {len(slides())} slides, {output.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=BUILT, help="the HTML file to write")
    write(parser.parse_args().output)


if __name__ == "__main__":
    main()
