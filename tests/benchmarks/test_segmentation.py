"""The race of segmentation gives the peers the network that minivan computes, and reckons in its own times."""

import sys

import pytest
from support import ROOT
from support.compare import assert_close
from tolerances import LOGITS

sys.path.append(str(ROOT / "benchmarks"))

import segmentation

from minivan import fpn, seeded
from minivan.engines import auto
from minivan.variants import Config


def test_the_onnx_of_the_peers_is_the_network(monkeypatch, tmp_path):
    backbone = Config((8, 16, 24, 32), (1, 1, 1, 1), (2, 2, 2, 2), classes=0)
    head = fpn.FPNConfig(backbone.dims, 12, 10, 5)
    for name, value in dict(BACKBONE=backbone, HEADS={"small": head}, HEIGHT=64, WIDTH=96).items():
        monkeypatch.setattr(segmentation, name, value)
    segmentation.write_onnx("small", tmp_path / "network.onnx")
    x = seeded.images((1, 3, 64, 96))
    peer = segmentation.onnx_runtime("small", tmp_path / "network.onnx", 1)
    tensors, fpn_tensors = segmentation.tensors("small")
    assert_close("logits", peer(x), auto.NumpyFPNPlan(backbone, tensors, head, fpn_tensors)(x), LOGITS)


def test_ratios_are_to_the_times_of_fast():
    rows = segmentation.table({"head": {"fast": [2.0, 4.0, 3.0], "OpenVINO": [3.0, 9.0, 6.0]}})
    assert rows[2:] == ["| head | `fast` | 2.0 | 3.0 |  |", "| head | OpenVINO | 3.0 | 6.0 | 1.50, 2.00 |"]


@pytest.mark.parametrize(
    "option, said", [("--engines=fast,tvm", "tvm is none of fast, ONNX"), ("--heads=0,2", "from 0 to 1, got 0,2")]
)
def test_what_is_not_there_to_race_is_said_in_a_line(monkeypatch, capsys, option, said):
    monkeypatch.setattr(sys, "argv", ["segmentation.py", option])
    with pytest.raises(SystemExit):
        segmentation.main()
    assert said in capsys.readouterr().err.splitlines()[-1]
