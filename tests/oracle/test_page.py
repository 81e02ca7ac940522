"""The page of a comparison, and the sketches it is drawn from."""

import html
import json
import re

import numpy as np
import pytest
from support.ports import as_port, instead, numpy_layers, reference, run

from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked
from minivan.oracle.page import Shown, page
from minivan.oracle.sketch import sketch

BEFORE, WRONG = "block2.1.mlp.dwconv.dwconv", "block2.1.mlp.act"


@pytest.fixture(scope="module")
def judged():
    baseline = Baseline(reference(), lambda: (run, ""))
    port = numpy_layers(change=instead(WRONG, lambda array, layers: np.maximum(layers[BEFORE], 0)))
    return baseline.judge(as_port(port), Asked(sketches=True))


def test_an_error_is_sketched_where_it_lies():
    right = np.random.default_rng(0).normal(size=(2, 70, 30, 31)).astype(np.float32)
    theirs = right.copy()
    theirs[1, 69, 29, 0] += 2
    found = sketch(right, theirs, "own")
    assert found.positions.shape == (24, 24) and np.argwhere(found.positions > 0).tolist() == [[23, 0]]
    assert found.channels.shape == (64,) and np.flatnonzero(found.channels).tolist() == [63]
    theirs[1, 69, 29, 0] = np.nan
    assert sketch(right, theirs, "own").largest == 0 and sketch(right[:, :, 0, 0], right[:, :, 1, 1], "own").positions is None


def test_by_value_counts_every_number():
    right, theirs = np.zeros((1, 2, 3, 4), np.float32), np.ones((1, 2, 3, 4), np.float32)
    found = sketch(right, theirs, "whole")
    assert found.histogram.sum() == found.histogram[-1] == found.density[-1, 0] == 24 and found.largest == 1


def test_the_page_has_the_verdict_and_every_layer_and_fetches_nothing(judged):
    text = page("trace.safetensors", [Shown("a port", judged), Shown("the same", judged)])
    said = html.unescape(re.sub(r"<[^>]*>", " ", text))
    assert f"First divergence:  {WRONG}  (layer " in said and "ReLU instead of GELU" in said.replace("\n", " ")
    assert text.count("<details") == len(judged.report.rows) and text.count("<figure>") > 2 * 3 * len(judged.report.rows)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r"<script|https?:|\bon\w+=|style=", text)
    assert len(text) / len(judged.report.rows) / 2 < 5_000_000 / 222 / 2


def test_names_are_text_and_never_markup(judged):
    name = "<img src=x onerror=alert(1)>\x1b[31m&\u202e"
    text = page(name, [Shown(name, judged)])
    assert "<img src=x" not in text and "\x1b" not in text and "\u202e" not in text and "&lt;img src=x" in text


def test_the_command_writes_the_page_and_json_has_its_numbers(tmp_path, run, judged):
    from minivan.oracle import trace

    trace.write(reference(), tmp_path / "t.safetensors")
    np.savez(tmp_path / "port.npz", **{path: np.asarray(array) for path, array in judged.report.arrays.items()})
    paths = tmp_path / "t.safetensors", tmp_path / "port.npz"
    status, out, _ = run("oracle", "compare", *paths, "--json", "--report", tmp_path / "out.html", "--beside", paths[0])
    said = json.loads(out)
    assert status == 1 and set(said["rows"][3]["where"]) >= {"positions", "channels", "histogram", "density"}
    assert said["rows"][3]["where"]["error"] == "whole" and said["beside"]["within"]
    assert "port.npz" in (tmp_path / "out.html").read_text(encoding="utf-8")
    status, out, _ = run("oracle", "compare", *paths, "--report", tmp_path / "out.html", "--beside", paths[0])
    assert status == 1 and out.endswith(f"{paths[0]}, beside it: bit-equal\n")
    status, _, err = run("oracle", "compare", *paths, "--beside", paths[0])
    assert status == 2 and err == "minivan: --beside shows a second port on the page of --report: say where that goes\n"
