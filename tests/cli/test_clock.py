"""Every command that decodes an image does so for a limited time."""

import threading

import numpy as np
import pytest
from support import EXAMPLES

from minivan import image
from minivan.cli import main
from minivan.image import decoding

pytestmark = pytest.mark.loop

COFFEE = str(EXAMPLES / "coffee.jpg")
COMMANDS = {
    "classify": ["classify", COFFEE, "--engine", "numpy"],
    "segment": ["segment", COFFEE, "--engine", "numpy", "--quiet"],
    "explain": ["explain", COFFEE, "--engine", "numpy", "--json"],
    "explore": ["explore", COFFEE, "--engine", "numpy"],
    "oracle record": ["oracle", "record", COFFEE, "--engine", "numpy", "--hashes"],
    "receptive-field": ["receptive-field", COFFEE, "--size", "33"],
    "lka": ["lka", "--image", COFFEE],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_decoder_that_never_comes_back_is_left_behind(name, monkeypatch, capsys):
    release = threading.Event()
    monkeypatch.setattr(image, "LONGEST", 0.05)
    monkeypatch.setattr(decoding.Examined, "decode", lambda self, *how: release.wait(60))
    try:
        assert main(COMMANDS[name]) == 2
    finally:
        release.set()
    said = capsys.readouterr().err
    assert said.endswith(f"{COFFEE}: it took longer than 0.05 seconds to decode\n") and said.count("\n") == 1


def test_a_tensor_is_read_without_that_clock(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minivan.predict.threads.alone", lambda *_: pytest.fail("a clock was started"))
    np.save(tmp_path / "x.NPY.npy", np.zeros((3, 32, 32), np.float32))
    assert main(["oracle", "record", str(tmp_path / "x.NPY.npy"), "--engine", "numpy", "--hashes"]) == 0
