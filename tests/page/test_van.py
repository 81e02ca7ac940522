"""The engine in JavaScript: the bits of `exact`, on the oracle's test vectors and on every layer of a photo."""

import dataclasses
import json
import re
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_close
from tolerances import EXACT_NETWORK

from minivan import image
from minivan.checkpoint import bundled, safetensors_file
from minivan.cli import main
from minivan.ops import activation
from minivan.oracle import digest, vectors

PORT = Path(__file__).parent / "port.mjs"
EXP_AND_ERFC = (ROOT / "minivan" / "page" / "erf.js").read_text(encoding="utf-8")


def port(node, *arguments):
    subprocess.run([node, str(PORT), *map(str, arguments)], check=True, timeout=120)


def test_erfc_has_the_coefficients_of_python():
    written = re.search(r"ERFC_SCALED = \[(.*?)\]", EXP_AND_ERFC, re.DOTALL)[1]
    assert [float(number) for number in written.split(",") if number.strip()] == list(activation.ERFC_SCALED)


@pytest.mark.slow
def test_every_test_vector_comes_out_bit_for_bit(node, tmp_path):
    vectors.write(tmp_path / "vectors")
    port(node, "vectors", tmp_path / "vectors", tmp_path / "port")
    manifest = json.loads((tmp_path / "vectors" / "manifest.json").read_text())
    for case in manifest["cases"]:
        with safetensors_file.open_safetensors(tmp_path / "port" / f"{case['name']}.safetensors") as (stored, _, _):
            assert {name: digest(tensor.read()) for name, tensor in stored.items()} == {
                name: entry["sha256"] for name, entry in case["outputs"].items()
            }, case["name"]


@pytest.mark.slow
def test_the_oracle_finds_every_layer_of_a_photo_bit_for_bit(node, model, tmp_path, capsys):
    trace, x, config = (tmp_path / name for name in ("trace.safetensors", "x.safetensors", "config.json"))
    assert (
        main(["oracle", "record", str(ROOT / "examples" / "coffee.jpg"), "-o", str(trace), "--model", str(bundled()[0])]) == 0
    )
    with safetensors_file.open_safetensors(trace) as (stored, _, _):
        safetensors_file.write(x, {"input": np.ascontiguousarray(stored["input"].read())}, {})
    config.write_text(json.dumps(dataclasses.asdict(model.config)))
    port(node, "trace", bundled()[0], config, x, tmp_path / "port.safetensors")
    capsys.readouterr()
    status = main(["oracle", "compare", str(trace), str(tmp_path / "port.safetensors"), "--max-ulp", "0", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == 0 and len(report["rows"]) > 200 and all(row["bit_equal"] == 1 for row in report["rows"])


@pytest.mark.slow
def test_every_change_is_the_one_that_was_measured(node, model, tmp_path):
    """The accuracies on the page are those of benchmarks/page.py, whose changes are hooks in Python."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "page.py"))
    x, config = tmp_path / "x.safetensors", tmp_path / "config.json"
    images = image.prepare(ROOT / "examples" / "cat.jpg", model.card.preprocessing)[None]
    safetensors_file.write(x, {"input": images}, {})
    config.write_text(json.dumps(dataclasses.asdict(model.config)))
    port(node, "changes", bundled()[0], config, x, tmp_path / "out.safetensors", *script["CHANGES"])
    with safetensors_file.open_safetensors(tmp_path / "out.safetensors") as (stored, _, _):
        for change in script["CHANGES"]:
            wanted = model(images, hook=script["changed"](model, change))
            assert_close(change, stored[change].read(), wanted, EXACT_NETWORK)


@pytest.mark.slow
def test_a_photo_is_resized_as_pillow_does_bit_for_bit(node, tmp_path):
    """JPEG decoders differ; what comes after them does not, but for pictures of which Pillow 13 shrinks the height first."""
    from PIL import Image

    for width, height, wide, high in ((451, 300, 144, 96), (97, 160, 96, 158), (40, 33, 116, 96), (640, 96, 640, 96)):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
        (tmp_path / "in").write_bytes(np.dstack([pixels, np.full((height, width), 255, np.uint8)]).tobytes())
        port(node, "resize", tmp_path / "in", width, height, wide, high, tmp_path / "out")
        made = np.frombuffer((tmp_path / "out").read_bytes(), np.uint8).reshape(high, wide, 4)[..., :3]
        wanted = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BICUBIC))
        assert (made == wanted).all(), (width, height)
