"""What a port computes in: said, read off its files, or guessed of its numbers; and what is allowed it for that."""

import json

import numpy as np
import pytest
from support.ports import as_port, numpy_layers, reference, sound_port

from minivan.oracle import trace
from minivan.oracle.compare import Asked, compare
from minivan.oracle.measure import measure
from minivan.oracle.tolerance import DEFAULTS, Tolerance, default
from minivan.oracle.trace import Trace
from minivan.oracle.ulp import one_rounding, round_to, spacing


def rounded(form, layers=None):
    """The layers of a sound port in float32 files, each rounded once to a format: no more than a port in it errs."""
    return {path: round_to(a, form).astype(np.float32) for path, a in (layers or sound_port()).items()}


@pytest.mark.parametrize("form", ["float16", "bfloat16", "tf32"])
def test_a_float32_file_with_the_numbers_of_a_shorter_format_is_judged_by_that(form):
    report = compare(reference(), as_port(rounded(form)))
    found = "float16" if form == "tf32" and report.precision.word == "float16" else form
    assert (report.precision.word, report.precision.source) == (found, "guessed") and report.first_divergence is None
    kept = {**rounded(form), "input": sound_port()["input"]}  # what a port was given may have all its digits
    assert compare(reference(), as_port(kept)).precision.word == found
    one = {**rounded(form), "head": sound_port()["head"]}  # a single layer with more digits: nothing is guessed
    assert compare(reference(), as_port(one)).precision.word == "float32"


def test_one_rounded_layer_of_a_float32_port_is_no_guess():
    layers = {**sound_port(), "norm2": rounded("bfloat16")["norm2"]}
    report = compare(reference(), as_port(layers))
    assert (report.precision.word, report.first_divergence.path) == ("float32", "norm2")


def test_whole_numbers_tell_nothing_where_the_trace_has_them_too():
    layers = {"norm1": np.float32([[1, 2, 3]]), "head": np.float32([[4, 5]])}
    wrong = {**layers, "head": np.float32([[4, 5.125]])}
    report = compare(Trace(layers, None, {}), as_port(wrong))
    assert (report.precision.word, report.within) == ("float32", False)


def test_what_is_stored_short_was_computed_short_and_so_was_what_came_after():
    layers = {
        path: array.astype(np.float16) for path, array in sound_port().items() if path not in ("head", "patch_embed1.proj")
    }
    port = as_port({**layers, "head": sound_port()["head"], "patch_embed1.proj": sound_port()["patch_embed1.proj"]})
    report = compare(reference(), port)
    words = {row.path: row.precision for row in report.rows}
    assert (words["input"], words["patch_embed1.proj"], words["head"]) == ("float16", "float16", "float16")
    assert (report.precision.word, report.precision.source) == ("float16", "stored")
    del port["input"]
    words = {row.path: row.precision for row in compare(reference(), port).rows}
    assert (words["patch_embed1.proj"], words["patch_embed1.norm"]) == ("float32", "float16")


def test_what_is_said_goes_before_what_the_files_say():
    wide = as_port({path: a.astype(np.float64) for path, a in rounded("float16").items()})
    assert compare(reference(), wide).precision.word == "float16"
    report = compare(reference(), wide, asked=Asked(precision="bfloat16"))
    assert {row.precision for row in report.rows} == {report.precision.word} == {"bfloat16"}
    halves = as_port({path: a.astype(np.float16) for path, a in sound_port().items()})
    strict = compare(reference(), halves, asked=Asked(precision="float32"))  # float32 arithmetic, stored in halves
    assert strict.first_divergence is None
    wrong = {**{path: a.astype(np.float16) for path, a in sound_port().items()}}
    wrong["norm2"] = (sound_port()["norm2"] * np.float32(1.01)).astype(np.float16)
    assert compare(reference(), as_port(wrong), asked=Asked(precision="float32")).first_divergence.path == "norm2"
    assert compare(reference(), as_port(wrong)).first_divergence is None


def test_a_stored_number_may_be_rounded_once_more():
    assert default("float32", "float32") == DEFAULTS["float32"] == default("float32", "float64")
    assert default("float32", "float16") == Tolerance(5e-5 + 2.0**-11, 2.0**-24)
    assert default("bfloat16", "float16") == DEFAULTS["bfloat16"]


def test_the_command_says_what_it_guessed_and_takes_a_word(tmp_path, run):
    trace.write(reference(), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **rounded("bfloat16"))
    command = ["oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz"]
    status, out, _ = run(*command)
    assert status == 0 and "precision: bfloat16, guessed: all the port's numbers are numbers of it" in out
    assert json.loads(run(*command, "--json")[1])["precision"] == "bfloat16"
    status, out, _ = run(*command, "--precision", "float32")
    assert status == 1 and "guessed" not in out and "first divergence: input" in out
    status, _, err = run(*command, "--precision", "half")
    assert status == 2 and "invalid choice: 'half'" in err


def test_a_ports_numbers_are_counted_in_what_it_computed_in():
    ours = np.float32([1 + 2.0**-12, 3.0])
    half = measure(0, "a", ours, np.float32([1.0, 3.0]), "float32", Tolerance(), "float16")
    assert (half.bit_equal, half.max_ulp) == (1, 0)
    off = measure(0, "a", ours, np.float32([1 + 2.0**-12, 3.0]), "float32", Tolerance(), "float16")
    assert (off.bit_equal, off.max_ulp) == (0.5, 0)  # no number of float16, though as near as one can be


@pytest.mark.parametrize("form, digits, least", [("float16", 10, -24), ("bfloat16", 7, -133), ("float32", 23, -149)])
def test_one_rounding_is_the_error_that_rounding_makes(form, digits, least):
    assert spacing(np.float32([1, 1.99, 2, 0, np.nan]), form).tolist() == [
        2.0**-digits, 2.0**-digits, 2.0 ** (1 - digits), 2.0**least, 2.0**least,
    ]  # fmt: skip
    values = np.random.default_rng(0).normal(size=200_000)
    if form != "bfloat16":  # which is reached by way of float32
        error = np.sqrt(np.mean((round_to(values, form) - values) ** 2))
        assert error == pytest.approx(one_rounding(values, form), rel=0.01)
    assert one_rounding(np.float32([]), form) == 0


def test_a_port_of_another_input_in_halves_is_still_wrong():
    layers = numpy_layers(x=np.ascontiguousarray(reference().input[:, ::-1]))
    report = compare(reference(), as_port(rounded("bfloat16", layers)))
    assert (report.precision.word, report.first_divergence.path) == ("bfloat16", "input")
