"""The race against the peers: who is ahead, what goes into the page, and that nobody runs while another still computes."""

import json
import re
import signal
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from support import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import peers
import racers
import sections

pytestmark = pytest.mark.loop

# What racers.py is as a script, of no engine: after each answer it computes for a moment, and it starts a process of its own.
RESTLESS = """
import json, subprocess, sys, time
import numpy as np
engine, case, folder = sys.argv[1:]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def tell(**said):
    print(json.dumps(said), flush=True)
    start = time.perf_counter()
    while time.perf_counter() - start < 0.2:
        pass
if engine == "openvino":
    tell(unavailable="not on this planet")
else:
    np.save(f"{folder}/{engine}.npy", np.full((1, 4), child.pid, np.float32))
    tell(megabytes=1)
for line in sys.stdin:
    tell(seconds=[0.001] * int(line), megabytes=2)
"""


def alive(process: int) -> bool:
    """Tell whether a process is there and no zombie, which nobody may have waited for yet."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the processor time of another process is read on Linux alone")
def test_a_process_has_come_to_rest_before_the_next_one_runs_and_none_outlives_an_interrupted_race(tmp_path, monkeypatch):
    stub = tmp_path / "stub.py"
    stub.write_text(RESTLESS)
    monkeypatch.setattr(racers, "__file__", str(stub))
    monkeypatch.setattr(racers, "prepare", lambda *_: ready_to_end.append(callable(signal.getsignal(signal.SIGTERM))))
    before, ready_to_end = signal.signal(signal.SIGTERM, signal.SIG_DFL), []
    case, started = racers.Case("b0", 32, 1, 1), []
    with pytest.raises(KeyboardInterrupt), racers.race(["fast", "openvino"], case, tmp_path) as (running, absent):
        assert absent == {"openvino": "not on this planet"} and list(running) == ["fast"]
        racer = running["fast"]
        assert racer.run(3) == [0.001] * 3
        assert 0.1 < racer.restless < racers.RESTLESS  # it computed for 0.2 seconds after its answer, and was waited for
        started = [racer.process.pid, int(racer.logits[0, 0])]
        assert all(map(alive, started))
        raise KeyboardInterrupt
    deadline = time.monotonic() + 5
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, started))
    alone = pytest.raises(SystemExit, match=r"^nobody is there to run b0-32-1-1: not on this planet$")
    with alone, racers.race(["openvino"], case, tmp_path):
        pass
    signal.signal(signal.SIGTERM, before)
    assert ready_to_end == [True, True]  # before the first process starts


def said(*rounds):
    return peers.summary([list(each) for each in rounds])


def test_minivan_is_ahead_of_the_fastest_peer_of_the_same_precision():
    engines = {
        "fast": said((10, 11), (10, 12)), "openvino": said((15, 16), (14, 18)), "torch": said((30, 31), (30, 31)),
        "openvino bfloat16": said((6, 7), (6, 7)),
    }  # fmt: skip
    lead = peers.ahead(engines, "float32")
    assert lead["peer"] == "openvino" and lead["ratio"] == 1.4 and lead["medians"] == pytest.approx(15.5 / 10.5)
    assert lead["interval"] == [1.4, 1.5]
    assert peers.ahead(engines, "bfloat16") is None  # minivan is missing
    assert peers.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


def test_an_answer_that_is_not_the_others_ends_the_race():
    class Answered:
        def __init__(self, engine, off):
            self.engine, self.logits = engine, np.array([[1.0, -2.0 + off]])

    case = racers.case_of("b0-224-8-2")
    peers.check({"fast": Answered("fast", 0), "bf": Answered("openvino bfloat16", 0.05)}, case)
    with pytest.raises(SystemExit, match=r"openvino and fast differ by [0-9.e-]+ of the largest logit on b0-224-8-2"):
        peers.check({"fast": Answered("fast", 0), "openvino": Answered("openvino", 0.05)}, case)


def test_the_page_has_one_section_for_each_processor(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- a -->\n\nNo table yet.\n\n### one\n\nold\n\n<!-- b -->\n\nthe rest\n")
    case = {
        "case": ["b0", 224, 1, 2], "engines": {"fast": said((10.0,)), "openvino": said((15.0,))},
        "absent": {"fast bfloat16": "no such thing"},
    }  # fmt: skip
    case["ahead"] = {precision: peers.ahead(case["engines"], precision) for precision in peers.PRECISIONS}
    body = peers.report([case], 1, {2: 1000.0})
    assert "| b0 | 224 | 1 | 2 | 10.0 (10.0) | 15.0 (15.0) | 1.50 (1.50-1.50) | 17% |" in body  # 1.73 GFLOP in 10 ms
    assert "Not here: fast bfloat16 (no such thing)." in body and max(map(len, body.splitlines())) <= 128
    sections.write(page, "<!-- a -->", "<!-- b -->", "two", body)
    sections.write(page, "<!-- a -->", "<!-- b -->", "one", "new")
    assert list(sections.sections(page, "<!-- a -->", "<!-- b -->")) == ["one", "two"]
    text = page.read_text()
    assert "old" not in text and text.startswith("# Page\n\n<!-- a -->\n\n### one\n\nnew\n\n### two\n\nMeasured")
    assert text.endswith("<!-- b -->\n\nthe rest\n") and body in text


def test_every_place_for_a_table_has_one_or_says_that_none_is_there_yet():
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    assert sum(page.count(" --write -->") for page in pages.values()) > 5
    assert [path.name for path, page in pages.items() if re.search(r" --write -->\s*<!-- end of ", page)] == []


def test_what_was_kept_goes_on_only_on_the_same_model_of_processor(tmp_path, monkeypatch):
    kept = tmp_path / "kept.json"
    for model in ("Xeon (model 143)", "Xeon (model 207)"):
        monkeypatch.setattr(peers, "processor", lambda model=model: model)
        here = peers.setting(["fast"], 3)
        if kept.exists():
            with pytest.raises(SystemExit, match="was measured on another machine"):
                next(peers.every([], lambda *_: {}, here, kept))
        kept.write_text(json.dumps({"machine": here, "cases": []}))
    assert [*peers.every([], lambda *_: {}, here, kept)] == []


def test_cases_are_chosen_by_how_they_begin_and_what_is_missing_is_one_line(monkeypatch):
    assert len(peers.CASES) == 24 and peers.chosen(["b1-384", "b0-224-1-2"], False)[0] == ("b0", 224, 1, 2)
    assert len(peers.chosen(["b1-384"], False)) == 4
    with pytest.raises(SystemExit, match="no case begins with 'b9'"):
        peers.chosen(["b9"], False)
    monkeypatch.setattr(racers.importlib.util, "find_spec", lambda name: None)
    assert peers.engines_of("fast") == ["fast"]  # minivan needs no peer
    with pytest.raises(SystemExit, match=r"^not installed: torch \(for torch\); pip install '\.\[bench\]'"):
        peers.engines_of("torch")


def test_the_peers_packages_are_the_extra():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["bench"]
    needed = {package for engine in racers.ENGINES.values() for package in engine.packages} | set(racers.MADE_BY)
    assert needed < {re.split("[=>]", requirement)[0] for requirement in extra}
