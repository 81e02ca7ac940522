"""A comparison as one page of HTML: every layer with its own and its inherited error, and where in it the error lies.

The page stands by itself: no script, no address, nothing that a browser would fetch, as its Content-Security-Policy says.
Whatever comes from a file is text in it.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from .. import input
from ..errors import printable
from ..shipped import PACKAGE
from .baseline import Judged
from .measure import Row
from .sketch import Sketch
from .trace import shape_text

STYLE = PACKAGE / "oracle" / "report.css"
LARGEST_STYLE = 1 << 16  # bytes
LEAST, MOST = 0.1, 1e6  # roundings that a bar begins and ends with
QUIET = 80.0  # dB at which a bar of a quantised port begins
WIDE = 200  # units of a bar
FIGURE = 176, 132  # units of a diagram
LISTED = 40  # hints on the page


@dataclass(frozen=True)
class Shown:
    """One port on the page: what it is called, how it was judged, and why each wrong layer is wrong."""

    name: str
    judged: Judged

    @property
    def right(self) -> bool:
        """Whether nothing of it is wrong or unchecked."""
        return self.judged.report.within and not self.judged.report.missing


def page(trace: str, ports: Sequence[Shown]) -> str:
    """Return the page for one port, or for several side by side; `trace` is what they were compared with."""
    style = input.read_text(STYLE, LARGEST_STYLE)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    metadata = ports[0].judged.trace.metadata
    made = f"{metadata.get('model', '')} on engine {metadata.get('engine', '')}"
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width">', "<title>A port, layer by layer</title>",
        f"<style>{style}</style>", "</head>", f'<body class="{"two" if len(ports) > 1 else "one"}">',
        "<h1>A port, layer by layer</h1>",
        f'<p class="faint">Compared with {_text(trace)}: {_text(made)}.</p>',
        f'<div class="ports">{"".join(_verdict(port) for port in ports)}</div>',
        "<h2>Layers</h2>", _legend(ports), *_layers(ports), "</body>", "</html>", "",
    ])  # fmt: skip


def _text(text: str) -> str:
    return escape(printable(text))


def _verdict(port: Shown) -> str:
    """The top of the page: the first divergence and its hint, other offenders, and what was not checked."""
    report, first = port.judged.report, port.judged.report.first_divergence
    counted = f"{len(report.rows)} layers compared, {len(report.missing)} unchecked; computed in {report.precision.word}"
    lines = [f"<h2>{_text(port.name)}</h2>", f'<p class="faint">{_text(counted)}.</p>']
    if first is None:
        said = "bit-equal" if report.bit_equal else "within tolerance, and no layer adds more than rounding"
        if report.missing:
            said = f"right as far as it goes: {len(report.missing)} of the trace's {report.whole} layers went unchecked"
        return f'<section>{"".join(lines)}<div class="verdict{"" if port.right else " wrong"}"><p>{said}.</p></div></section>'
    hint = port.judged.hint() or "no known fault gives these numbers"
    lines += [
        '<div class="verdict wrong">',
        f"<p>First divergence: <code>{_text(first.path)}</code> (layer {first.number}).</p>",
    ]
    lines += [f"<p>{_text(hint[:1].upper() + hint[1:])}.</p>"]
    for text, rows in port.judged.hints()[:LISTED]:
        others = [row for row in rows if row is not first]
        if others:
            names = ", ".join(_text(row.path) for row in others[:3]) + (", ..." if len(others) > 3 else "")
            lines.append(f'<p class="faint">Also {names}{f": {_text(text)}" if text else ""}.</p>')
    return f"<section>{''.join(lines)}</div></section>"


def _legend(ports: Sequence[Shown]) -> str:
    own = any(row.own == row.own for port in ports for row in port.judged.report.rows)
    if any(port.judged.report.precision.word == "int8" for port in ports):
        said = "Bars: noise that a layer adds itself (above) and that it inherited (below), from 80 dB under its signal to 0."
    elif own:
        said = (
            "Bars: the error that a layer adds itself (above) and that it inherited (below), in roundings of the port's "
            "format, on a logarithmic scale from 0.1 to a million; dashed, what a sound layer adds at most."
        )
    else:
        said = "The layers' own errors are not known: name the trace's weights. A layer opens into where its whole error lies."
    return f'<p class="legend">{said} A layer opens into where the error lies.</p>'


def _layers(ports: Sequence[Shown]) -> list[str]:
    """One element for each layer that a port has, in the network's order."""
    rows = [{row.path: row for row in port.judged.report.rows} for port in ports]
    order = sorted({row.path: row.number for found in rows for row in found.values()}.items(), key=lambda item: item[1])
    return [_layer(path, number, ports, [found.get(path) for found in rows]) for path, number in order]


def _layer(path: str, number: int, ports: Sequence[Shown], rows: Sequence[Row | None]) -> str:
    shape = next(shape_text(row.shape) for row in rows if row is not None)
    wrong = any(row is not None and _is_wrong(row) for row in rows)
    measures = "".join(_measure(row) for row in rows)
    figures = "".join(
        _figures(port.name if len(ports) > 1 else "", row, port.judged.sketches.get(path))
        for port, row in zip(ports, rows, strict=True)
        if row is not None
    )
    head = (
        f'<span class="number">{number}</span><span class="name" title="{_text(path)}">{_text(path)}</span>'
        f'<span class="number">{shape}</span>'
    )
    return f'<details class="{"wrong" if wrong else "right"}"><summary>{head}{measures}</summary>{figures}</details>'


def _is_wrong(row: Row) -> bool:
    return not row.within or row.own > row.line


def _measure(row: Row | None) -> str:
    """A layer's bars and numbers in one port."""
    if row is None:
        return '<span class="faint">not in this port</span>'
    if row.fault:
        return f'<span class="past">{_text(row.fault)}</span>'
    if row.own != row.own:
        said = f"max error {row.max_abs:.2e}, {row.snr_db:.1f} dB" if row.bit_equal < 1 else "bit-equal"
        return f'<span class="number">{said}</span>'
    if row.precision == "int8":
        lengths, line = [_noise(row.own_db), _noise(row.inherited_db)], math.nan
        said = f"{row.own_db:.1f} dB own, {row.inherited_db:.1f} dB inherited"
    else:
        lengths, line = [_length(row.own), _length(row.inherited)], _length(row.line)
        said = f"{_number(row.own)} own, {_number(row.inherited)} inherited"
    mine = "beyond" if row.own > row.line else "own"
    mark = f'<path class="line" d="M{line:.0f} 0V14"/>' if line == line else ""
    bars = (
        f'<svg class="bars" viewBox="0 0 {WIDE} 14" preserveAspectRatio="none" role="img" aria-label="{said}">'
        f'<path class="axis" d="M0 0V14"/><rect class="{mine}" y="1" width="{lengths[0]:.0f}" height="5"/>'
        f'<rect class="inherited" y="8" width="{lengths[1]:.0f}" height="5"/>{mark}</svg>'
    )
    return f'<span class="measure">{bars}<span class="number{" past" if _is_wrong(row) else ""}">{said}</span></span>'


def _number(roundings: float) -> str:
    return f"{roundings:.1f}" if roundings < 1000 else f"{roundings:.0e}"


def _length(roundings: float) -> float:
    """The length of a bar: logarithmic from LEAST to MOST."""
    if not roundings > LEAST:
        return 0.0
    return WIDE * min(1.0, math.log(min(roundings, MOST) / LEAST) / math.log(MOST / LEAST))


def _noise(decibels: float) -> float:
    return WIDE * min(1.0, max(0.0, (QUIET - decibels) / QUIET))


def _figures(name: str, row: Row, sketch: Sketch | None) -> str:
    """Where the error of an opened layer lies."""
    head = f"<strong>{_text(name)}</strong> " if name else ""
    if row.fault or sketch is None:
        said = row.fault or "No error to show."
        return f'<div class="figures"><p class="faint">{head}{_text(said)}</p></div>'
    whose = "own error" if sketch.error == "own" else "error"
    numbers = (
        f"{row.bit_equal:.2%} of the bits equal; largest error {row.max_abs:.3g}, relative {row.max_rel:.3g}; "
        f"signal to noise {row.snr_db:.1f} dB"
    )
    strange = f"; not finite: {row.not_finite[0]:,} here, {row.not_finite[1]:,} in the port" if any(row.not_finite) else ""
    figures = [f'<p class="faint">{head}{escape(numbers + strange)}</p>']
    if sketch.positions is not None:
        figures.append(_figure(_image(sketch.positions), f"{whose} by position, to {sketch.positions.max(initial=0):.2g}"))
    figures.append(_figure(_columns(sketch.channels), f"by channel, to {sketch.channels.max(initial=0):.2g}"))
    figures.append(
        _figure(_columns(np.log1p(sketch.histogram)), f"by size, from -{sketch.largest:.2g} to {sketch.largest:.2g}")
    )
    spread = f"port (up) against right numbers, {sketch.low:.2g} to {sketch.high:.2g}"
    figures.append(_figure(_image(np.log1p(sketch.density[::-1])), spread))
    return f'<div class="figures">{"".join(figures)}</div>'


def _figure(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>"


def _columns(values: npt.ArrayLike) -> str:
    """A diagram of columns, from nothing to the largest."""
    heights = np.nan_to_num(np.asarray(values, np.float64))
    (wide, high), top = FIGURE, float(heights.max(initial=0.0)) or 1.0
    step = wide / max(1, heights.size)
    path = "".join(f"M{i * step:.1f} {high}v-{value / top * high:.1f}h{step * 0.85:.1f}V{high}z"
                   for i, value in enumerate(heights) if value > 0)  # fmt: skip
    return f'<svg viewBox="0 0 {wide} {high}" role="img"><path class="own" d="{path}"/></svg>'


def _image(values: npt.ArrayLike) -> str:
    """A picture of numbers (H, W): nothing is blue-black, the largest yellow, as in Matplotlib's map plasma."""
    array = np.nan_to_num(np.asarray(values, np.float64))
    top = float(array.max(initial=0.0)) or 1.0
    pixels = np.round(array / top * (len(COLOURS) - 1)).astype(np.uint8)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(_png(pixels)).decode()}">'


# Between five colours of the map plasma, straight lines.
FIVE = ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33))
COLOURS = np.array([np.interp(np.linspace(0, 4, 64), np.arange(5), part) for part in zip(*FIVE, strict=True)]).T.astype(
    np.uint8
)


def _png(places: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of numbers that are places in COLOURS. Format: https://www.w3.org/TR/png-3/"""
    height, width = places.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), places], 1).tobytes()  # each row begins with its filter, none
    parts: Mapping[bytes, bytes] = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": COLOURS.tobytes(),
        b"IDAT": zlib.compress(rows, 9),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
