"""The engine in JavaScript: the bits of `exact`, on the oracle's test vectors and on every layer of a photo."""

import dataclasses
import json
import math
import re
import runpy
import subprocess
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_close
from tolerances import EXACT_NETWORK

from minivan import geometry, image, lka, paths
from minivan.checkpoint import bundled, safetensors_file
from minivan.cli import main
from minivan.ops import activation
from minivan.oracle import digest, vectors
from minivan.oracle.cases import UPSAMPLINGS

PORT = Path(__file__).parent / "port.mjs"
EXP_AND_ERFC = (ROOT / "minivan" / "page" / "erf.js").read_text(encoding="utf-8")


def in_javascript(test):
    """Mark a test that runs node or a browser: what it finds does not depend on Python's version, and one environment is
    enough."""
    return pytest.mark.slow(pytest.mark.browser(test))


def port(node, *arguments):
    subprocess.run([node, str(PORT), *map(str, arguments)], check=True, timeout=120)


def printed(node, *arguments):
    """Return what the port prints."""
    command = [node, str(PORT), *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, timeout=120, capture_output=True, text=True, encoding="utf-8").stdout)


def test_erfc_has_the_coefficients_of_python():
    written = re.search(r"ERFC_SCALED = \[(.*?)\]", EXP_AND_ERFC, re.DOTALL)[1]
    assert [float(number) for number in written.split(",") if number.strip()] == list(activation.ERFC_SCALED)


@in_javascript
def test_every_test_vector_comes_out_bit_for_bit(node, tmp_path):
    """Those of the way back and of segmentation it has nothing for: the page classifies."""
    vectors.write(tmp_path / "vectors")
    path = tmp_path / "vectors" / "manifest.json"
    manifest = json.loads(path.read_text())
    missing = [
        case
        for case in manifest["cases"]
        if case["operator"].endswith(("_backward", "_training")) or case["operator"] in ("relu", *UPSAMPLINGS)
    ]
    manifest["cases"] = [case for case in manifest["cases"] if case not in missing]
    assert len(manifest["cases"]) > len(missing) > 0
    path.write_text(json.dumps(manifest))
    port(node, "vectors", tmp_path / "vectors", tmp_path / "port")
    for case in manifest["cases"]:
        with safetensors_file.open_safetensors(tmp_path / "port" / f"{case['name']}.safetensors") as (stored, _, _):
            assert {name: digest(tensor.read()) for name, tensor in stored.items()} == {
                name: entry["sha256"] for name, entry in case["outputs"].items()
            }, case["name"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What `oracle record` writes of a photo, and the input that it holds."""
    trace = tmp_path_factory.mktemp("recorded") / "trace.safetensors"
    photo = ROOT / "examples" / "coffee.jpg"
    assert main(["oracle", "record", str(photo), "-o", str(trace), "--model", str(bundled()[0])]) == 0
    with safetensors_file.open_safetensors(trace) as (stored, _, _):
        return trace, np.ascontiguousarray(stored["input"].read())


def compare(trace, layers, capsys):
    """Have `oracle compare` find every layer bit for bit."""
    capsys.readouterr()
    status = main(["oracle", "compare", str(trace), str(layers), "--max-ulp", "0", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == 0 and len(report["rows"]) > 200 and all(row["bit_equal"] == 1 for row in report["rows"])


@in_javascript
def test_the_oracle_finds_every_layer_of_a_photo_bit_for_bit(node, model, recorded, tmp_path, capsys):
    trace, images = recorded
    x, config = tmp_path / "x.safetensors", tmp_path / "config.json"
    safetensors_file.write(x, {"input": images}, {})
    config.write_text(json.dumps(dataclasses.asdict(model.config)))
    port(node, "trace", bundled()[0], config, x, tmp_path / "port.safetensors")
    compare(trace, tmp_path / "port.safetensors", capsys)


ASK_THE_WORKER = """async ([values, shape]) => {
    const text = (id) => document.getElementById(id).textContent.trim();
    const buffer = Uint8Array.from(atob(text("weights")), (character) => character.charCodeAt(0)).buffer;
    const worker = new Worker(URL.createObjectURL(new Blob([text("engine")], { type: "text/javascript" })));
    worker.postMessage({ buffer, config: JSON.parse(text("description")).config });
    worker.postMessage({ input: { data: new Float32Array(values), shape }, wanted: "all" });
    const { layers } = await new Promise((done) => { worker.onmessage = ({ data }) => done(data); });
    worker.terminate();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(Object.values(layers).map(({ data }) => data)));
    link.download = "layers";
    link.click();
    return Object.entries(layers).map(([path, { shape }]) => [path, shape]);
}"""


@in_javascript
def test_the_oracle_finds_the_same_in_the_browser(opened, recorded, tmp_path, capsys):
    """Asked for are all layers, of the worker and the weights that the page's file holds."""
    trace, images = recorded
    tab = opened.open()
    with tab.expect_download() as download:
        shapes = tab.evaluate(ASK_THE_WORKER, [images.ravel().tolist(), images.shape])
    download.value.save_as(tmp_path / "layers")
    values, layers = np.fromfile(tmp_path / "layers", "<f4"), {}
    for path, shape in shapes:
        layers[path], values = values[: math.prod(shape)].reshape(shape), values[math.prod(shape) :]
    assert len(values) == 0
    safetensors_file.write(tmp_path / "browser.safetensors", layers, {})
    compare(trace, tmp_path / "browser.safetensors", capsys)


@in_javascript
def test_every_change_is_the_one_that_was_measured(node, model, tmp_path):
    """The accuracies on the page are those of benchmarks/page.py, whose changes are hooks in Python; all but one of them were
    measured by examples/ablations/ablate.py, which makes the same changes in its own way."""
    script = runpy.run_path(str(ROOT / "benchmarks" / "page.py"))
    ablate = runpy.run_path(str(ROOT / "examples" / "ablations" / "ablate.py"))
    x, config = tmp_path / "x.safetensors", tmp_path / "config.json"
    images = np.ascontiguousarray(image.prepare(ROOT / "examples" / "cat.jpg", model.card.preprocessing)[None, :, 24:72, 24:72])
    safetensors_file.write(x, {"input": images}, {})
    config.write_text(json.dumps(dataclasses.asdict(model.config)))
    port(node, "changes", bundled()[0], config, x, tmp_path / "out.safetensors", *script["CHANGES"])
    with safetensors_file.open_safetensors(tmp_path / "out.safetensors") as (stored, _, _):
        for change in script["CHANGES"]:
            wanted = model(images, hook=script["changed"](model, change))
            assert_close(change, stored[change].read(), wanted, EXACT_NETWORK)
        for change, name in script["MEASURED"].items():
            wanted = model(images, hook=ablate["replace"](model, ablate["ablations"]()[name][0]))
            assert_close(name, stored[change].read(), wanted, EXACT_NETWORK)


@in_javascript
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


@in_javascript
def test_every_float16_is_read_exactly_and_written_as_python_writes_it(node, tmp_path):
    """All 65,536: subnormals, both infinities, every NaN; and the ties, which go to the even digit."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    safetensors_file.write(tmp_path / "halves", {"halves": halves}, {})
    found = printed(node, "halves", tmp_path / "halves")
    numbers, wanted = np.array(found["bits"], np.uint32).view(np.float32), halves.astype(np.float32)
    finite = np.isfinite(wanted)
    assert (np.isnan(numbers) == np.isnan(wanted)).all()
    assert (numbers.view(np.uint32) == wanted.view(np.uint32))[~np.isnan(wanted)].all()
    for digits, written in enumerate(found["written"]):
        texts = [signed(value, digits) for value in wanted[finite].tolist()]
        assert [text for text, is_finite in zip(written, finite, strict=True) if is_finite] == texts


def signed(value, digits):
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")


@in_javascript
def test_at_every_place_the_sentence_adds_up_and_the_gate_multiplies_as_written(node, model, layers, tmp_path):
    """All channels and places of the first block. What none of the digits would do for says so."""
    block = "block1.0"
    u, factor, gated = (layers[f"{block}.{path}"] for path in (paths.GATED, paths.FACTOR, paths.UNIT))
    ops, tensors = model.engine.ops, {name: model.tensors[f"{block}.{paths.UNIT}.{name}"] for name in unit_names()}
    middle = tensors["conv0.weight"][:, 0, 2, 2].astype(np.float64) * tensors["conv_spatial.weight"][:, 0, 3, 3]
    own = np.einsum("oc,c,chw->ohw", tensors["conv1.weight"][:, :, 0, 0], middle, u.astype(np.float64))
    v = ops.conv2d(np.zeros_like(u)[None], tensors["conv0.weight"], tensors["conv0.bias"], padding=2, groups=len(u))
    far = {"padding": 9, "dilation": 3, "groups": len(u)}
    v = ops.conv2d(v, tensors["conv_spatial.weight"], tensors["conv_spatial.bias"], **far)
    constant = ops.conv2d(v, tensors["conv1.weight"], tensors["conv1.bias"])[0].astype(np.float64)
    sums = np.stack([own, factor - own - constant, constant, factor.astype(np.float64)], axis=-1).reshape(-1, 4)
    products = np.stack([u, factor, gated], axis=-1).reshape(-1, 3)
    (tmp_path / "in").write_text(json.dumps({"sums": sums.tolist(), "products": products.tolist()}))
    found = printed(node, "written", tmp_path / "in")
    for texts in found["sums"]:
        *terms, total = (Decimal(text.replace("\u2212", "-")) for text in texts)
        assert sum(terms) == total, texts
    about = 0
    for *texts, equals, shown in found["products"]:
        a, b, product = (Decimal(text.replace("\u2212", "-")) for text in (*texts, shown))
        assert (equals == "=") == (abs(a * b - product) < Decimal("0.0005")), (texts, shown)
        about += equals != "="
    assert about < len(products) / 1000
    rounded = sum(float(rounding.replace("\u2212", "-")) != 0 for *_, rounding, _ in found["sums"])
    assert 0 < rounded < len(sums) / 10


def unit_names():
    return [f"{name}.{kind}" for name in ("conv0", "conv_spatial", "conv1") for kind in ("weight", "bias")]


@in_javascript
def test_sizes_and_costs_are_those_of_minivan_lka(node):
    asked, C, side = [(K, d) for K in (3, 7, 21, 22, 35, 49) for d in range(1, 9) if d <= K], 64, 56
    found = printed(node, "costs", json.dumps(asked), C, side)
    for (K, d), kernel in zip(asked, found["kernels"], strict=True):
        near, ways, N = lka.local_side(d), np.array(kernel.pop("ways")), side * side
        least, narrower = kernel.pop("least_ways"), kernel.pop("narrower_ways")
        assert (np.multiply.outer(ways, ways) == lka.footprint(K, d)).all()
        assert min(least) == 1 and (d == 1 or lka.dilated_side(K, d) == 1 or min(narrower) == 0), (K, d)
        around = lka.multiply_adds(2 * C * C, side, side)  # the projections before and after
        assert kernel == {
            "near": near,
            "dilated_side": lka.dilated_side(K, d),
            "support": lka.support(K, d),
            "spatial_weights": lka.spatial_weights(K, d),
            "outputs": [d * (lka.dilated_side(K, d) - 1) // 2 + (side - 1) // 2 for side in (near, d)],
            "costs": {
                "lka": lka.multiply_adds(lka.lka_parameters(C, K, d), side, side) + around,
                "mobilenet": lka.multiply_adds(lka.mobilenet_parameters(C, K), side, side) + around,
                "self": lka.self_attention_multiply_adds(C, N),
                "dense": lka.multiply_adds(lka.dense_parameters(C, K), side, side) + around,
            },
        }, (K, d)
    for name in ("CONV0", "CONV_SPATIAL"):
        assert {"stride": 1, "dilation": 1, **found[name]} == getattr(geometry, name)._asdict()
    assert found["LARGE_KERNEL"] == geometry.LARGE_KERNEL
    assert found["READS"] == lka.support(geometry.LARGE_KERNEL, geometry.CONV_SPATIAL.dilation)


@in_javascript
def test_the_split_of_whole_numbers_is_exact(node, tmp_path):
    """A place's share is how much the attention falls when u is zero there; with whole numbers nothing is rounded."""
    C, h, w = 2, 25, 9
    rng = np.random.default_rng(5)
    near, far, mix = (rng.integers(1, 5, shape) for shape in ((C, 1, 5, 5), (C, 1, 7, 7), (C, C, 1, 1)))
    biases, u = rng.integers(-4, 5, (3, C)), rng.integers(1, 5, (C, h, w))

    def attention(u):
        v = lka.depthwise(u, near) + biases[0, :, None, None]
        v = lka.depthwise(v, far, geometry.CONV_SPATIAL.dilation) + biases[1, :, None, None]
        return np.einsum("oc,chw->ohw", mix[:, :, 0, 0], v) + biases[2, :, None, None]

    names = ("conv0", "conv_spatial", "conv1")
    tensors = {f"{name}.weight": listed(weight) for name, weight in zip(names, (near, far, mix), strict=True)}
    tensors |= {f"{name}.bias": listed(bias) for name, bias in zip(names, biases, strict=True)}
    places = [(0, 0, 0), (1, 12, 4), (0, 1, 8), (1, 24, 2)]
    (tmp_path / "in").write_text(json.dumps({"tensors": tensors, "u": listed(u[None]), "places": places}))
    whole, without = attention(u), {}
    for row, column in np.ndindex(h, w):
        without[row, column] = u.copy()
        without[row, column][:, row, column] = 0
    falls = np.array([whole - attention(each) for each in without.values()]).reshape(h, w, C, h, w)
    for place, found in zip(places, printed(node, "split", tmp_path / "in"), strict=True):
        shares = np.array(found["shares"]).reshape(h, w)
        assert found["constant"] == attention(np.zeros_like(u))[place]
        assert (shares == falls[(..., *place)]).all(), place
        assert shares.sum() + found["constant"] == whole[place]
        reached, (rows, columns) = found["within"], np.nonzero(shares)
        assert (rows.min(), columns.min()) == (reached["row"], reached["column"])
        assert len(rows) == reached["height"] * reached["width"]


def listed(array):
    return {"shape": array.shape, "data": array.ravel().tolist()}
