"""What `python -m minivan oracle compare` prints: a line a layer, then the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..paths import INPUT
from .arguments import NO, RIGHT
from .printing import columns, say, say_json, say_pairs

if TYPE_CHECKING:
    from ..oracle import Judged, Report
    from ..oracle.every import Answer
    from ..oracle.measure import Difference, Row
    from ..oracle.quantised import Budget

SHOWN = 3  # names of layers in one message
MEASURES = {
    "bits": 7,
    "max abs": 9,
    "max rel": 9,
    "max ULP": 9,
    "99.9%": 8,
    "SNR dB": 7,
    "cosine": 11,
    "own": 8,
    "inherited": 9,
}
WIDEST = 80  # characters of the column of names: a longer one moves its own line to the right, not all


def print_report(judged: Judged, said: Mapping[str, Any]) -> None:
    """Print a comparison: its rows, what could not be compared, and last the verdict; `said` is what `judged.plain` gives."""
    report = judged.report
    _print_rows(report)
    _print_remarks(judged)
    first = report.first_divergence
    if first is None:
        say(f"{_compared(report)}: {_verdict(report)}")
        return
    say(f"first divergence: {first.path} (layer {first.number})")
    if first.first is not None and first.worst is not None:
        say(f"  first beyond tolerance {at(first.first)}")
        say(f"  largest error          {at(first.worst)}")
    if first.own > first.line and first.precision == "int8" and first.own < math.inf:
        from ..oracle.own import QUANTISED

        say(f"  its own ratio of signal to noise is {first.own_db:.1f} dB, a right layer's at least {QUANTISED:g} dB")
    elif first.own > first.line:
        say(f"  adds {roundings(first.own)} itself, a sound layer {roundings(first.line)} at most")
    say(f"  hint: {said['first_divergence']['hint'] or 'no known fault gives these numbers'}")
    _print_others(report, first, {offender["path"]: offender["hint"] for offender in said["offenders"]})
    if report.missing:
        say(unchecked(report))


def _print_rows(report: Report) -> None:
    """Print a line a layer, or a paragraph where the terminal is too narrow for a line."""
    from ..oracle.trace import shape_text

    width = min(max([5, *(len(printable(row.path)) for row in report.rows)]), WIDEST)
    heading = f"    {'#':>4} {'layer':{width}} {'shape':>15}" + "".join(f" {name:>{w}}" for name, w in MEASURES.items())
    heading += " (dB)" if report.precision.word == "int8" else ""
    narrow = len(heading) > columns()
    if not narrow:
        say(heading)
    for row in report.rows:
        mark = "   " if row.within and not (report.by_own and row.own > row.line) else ">>>"
        path, shape = printable(row.path), shape_text(row.shape)
        head = f"{mark} {row.number} {path} {shape}".lstrip() if narrow else f"{mark} {row.number:4} {path:{width}} {shape:>15}"
        if row.fault:
            say(f"{head} {row.fault}")
        elif narrow:
            say_pairs(head, zip(MEASURES, _measures(row), strict=True))
        else:
            cells = zip(_measures(row), MEASURES.values(), strict=True)
            say(" ".join([head, *(f"{cell:>{w}}" for cell, w in cells)]).rstrip())


def _measures(row: Row) -> tuple[str, ...]:
    """Return what was measured of a layer, as MEASURES lists it."""
    own = times(row.own), times(row.inherited)
    if row.precision == "int8" and row.own == row.own:
        own = f"{row.own_db:.1f}", f"{row.inherited_db:.1f}"
    errors = f"{row.max_abs:.2e}", f"{row.max_rel:.2e}", count(row.max_ulp), count(row.ulp_999)
    return share(row.bit_equal), *errors, f"{row.snr_db:.1f}", f"{row.cosine:.8f}", *own


def _print_remarks(judged: Judged) -> None:
    """Print what the reader of the verdict has to know: what is not there, not a number, or not known."""
    report = judged.report
    if report.missing:
        say(f"not in the port: {layers(len(report.missing))} ({some(report.missing)})")
    if report.unknown:
        say(f"not in the trace: {len(report.unknown)} names of the port ({some(report.unknown)})")
    if report.skipped:
        say(f"skipped: {len(report.skipped)} arrays of whole numbers, whose meaning nothing says ({some(report.skipped)})")
    for place, whose in enumerate(("trace", "port")):
        strange = [row for row in report.rows if row.not_finite[place]]
        if strange:
            numbers = sum(row.not_finite[place] for row in strange)
            say(
                f"not finite: {numbers:,} numbers of the {whose}, in {layers(len(strange))} ({some([r.path for r in strange])})"
            )
    if report.library:
        say(f"the port's names are those of {report.library}: its own map is used (otherwise say --map)")
    precision = report.precision
    if precision.source == "guessed":
        say(f"precision: {precision.word}, guessed: all the port's numbers are numbers of it (otherwise say --precision)")
    elif precision.word not in ("float32", "float64"):
        say(f"precision: {precision.word}, {'as said' if precision.source == 'given' else 'as the port stores it'}")
    if judged.budget is not None:
        _print_budget(judged.budget)
    if judged.obstacle and report.within:
        say(f"each layer's own error is not known: {judged.obstacle}")


def _print_budget(budget: Budget) -> None:
    """Print what quantisation costs the last layer, and what it would if one of the dearest layers stayed in float."""
    say(f"signal to quantisation noise of {printable(budget.path)}: {budget.final_db:.1f} dB; if one layer stayed in float:")
    for cost in budget.costs:
        said = f"{cost.spared_db:.1f} dB without that of {printable(cost.path)}"
        say(f"  {said}, whose own ratio is {cost.own_db:.1f} dB")


def _print_others(report: Report, first: Row, hints: Mapping[str, str]) -> None:
    """Print the offenders beside the first divergence, those with the same hint on one line."""
    others = [row for row in report.offenders if row is not first]
    if not others:
        return
    say(f"{layers(len(others))} more with an error of {'its' if len(others) == 1 else 'their'} own:")
    for text in dict.fromkeys(hints[row.path] for row in others):
        alike = [row for row in others if hints[row.path] == text]
        most = max(row.own for row in alike)
        names = some([row.path for row in alike])
        counted = f"{layers(len(alike))} ({names})" if len(alike) > 1 else f"{names} (layer {alike[0].number})"
        say(f"  {counted}, {'up to ' if len(alike) > 1 else ''}{roundings(most)}{f': {text}' if text else ''}")


def print_answers(answers: Iterable[Answer], as_json: bool) -> int:
    """Print a line for each test vector as soon as it is judged, and how many are right; return the exit status."""
    found = []
    for answer in answers:
        found.append(answer)
        if not as_json:
            say(f"{'   ' if answer.right else '>>>'} {printable(answer.name):44} {_answered(answer)}", flush=True)
    right = sum(answer.right for answer in found)
    if as_json:
        cases = {a.name: a.judged.plain() if a.judged else {"missing": printable(a.missing)} for a in found}
        say_json({"cases": cases, "right": right, "of": len(found)}, flush=True)
    else:
        say(f"{right} of {len(found)} test vectors are right")
    return RIGHT if right == len(found) and found else NO


def _answered(answer: Answer) -> str:
    """What is to be said of one test vector."""
    if answer.judged is None:
        return printable(answer.missing)
    return _in_a_line(answer.judged)


def print_beside(name: str, judged: Judged) -> None:
    """Print what is to be said of a second port."""
    say(f"{printable(name)}, beside it: {_in_a_line(judged)}")


def _in_a_line(judged: Judged) -> str:
    report = judged.report
    first = report.first_divergence
    if first is not None:
        hint = judged.hint()
        return f"first divergence: {printable(first.path)}{f'; hint: {hint}' if hint else ''}"
    return unchecked(report) if report.missing else _verdict(report)


def _compared(report: Report) -> str:
    """How much was compared, and as what: 'layout nchw' where all maps are, else of how many layers it is the other.

    The input, which no layer gives, is compared like one and counted among none, as wherever layers are counted.
    """
    rows = [row for row in report.rows if row.path != INPUT]
    others = [row for row in rows if row.layout not in ("", report.layout) and len(row.shape) == 4]
    other = "" if not others else f" ({layers(len(others))} {others[0].layout})"
    return f"{layers(len(rows))} compared, layout {report.layout}{other}"


def _verdict(report: Report) -> str:
    if report.missing:  # "bit-equal" would be read as the whole port's verdict
        return f"within tolerance, but {unchecked(report)}"
    return "bit-equal" if report.bit_equal else "within tolerance"


def unchecked(report: Report) -> str:
    """How many layers of how many the port does not show."""
    return f"{len(report.missing)} of the trace's {layers(report.whole)} went unchecked"


def roundings(number: float) -> str:
    """A number of roundings, in words."""
    return f"{times(number)} roundings"


def times(number: float) -> str:
    """A number of roundings with the digits that tell something; '' where it is not known."""
    if number != number:
        return ""
    return f"{number:.1f}" if number < 1000 else f"{number:.1e}"


def layers(number: int) -> str:
    """A number of layers, in words."""
    return "1 layer" if number == 1 else f"{number} layers"


def share(value: float) -> str:
    """A share in per cent that says 100% only of all."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def count(ulps: float) -> str:
    """A number of ULP: whole while it is short, then as a power of ten."""
    return f"{ulps:.0f}" if ulps < 1e7 else f"{ulps:.1e}"


def at(difference: Difference) -> str:
    """An index and both values, with the nine digits that tell any two float32 numbers apart."""
    return f"at {difference.index}: {difference.ours:.9g} in the trace, {difference.theirs:.9g} in the port"


def some(names: Sequence[str]) -> str:
    return ", ".join(printable(name) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
