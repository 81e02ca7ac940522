"""Whole networks: against PyTorch, across engines, threads and batches."""

import dataclasses
import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from support import ROOT
from support.compare import assert_bit_equal, assert_close
from support.engines import REFUSING, counting
from support.judge import torch, torch_ops, torch_van
from support.networks import images, random_tensors
from tolerances import LOGITS

from minivan import grad
from minivan.card import Card
from minivan.engines import Engine
from minivan.ops import activation, conv, depthwise, norm, pointwise, pool, upsample
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

SMALL = Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10)


@pytest.fixture(scope="module")
def small():
    return random_tensors(SMALL, seed=1)


@pytest.mark.parametrize("name", ["b0", *(pytest.param(name, marks=pytest.mark.once) for name in ("b1", "b2", "b3"))])
def test_stages_and_logits_are_pytorchs_and_closer_to_the_truth(name):
    config, x = VARIANTS[name], images(1, 96, 64)
    tensors = random_tensors(config, seed=7)
    model = VAN(config, tensors)
    single, double = torch_van.load(config, tensors), torch_van.load(config, tensors, torch.float64)
    with torch.no_grad():
        expected = [y.numpy() for y in single.features(torch.from_numpy(x))]
        logits32, logits64 = single(torch.from_numpy(x)).numpy(), double(torch.from_numpy(x).double()).numpy()
    for i, (got, stage) in enumerate(zip(model.features(x), expected, strict=True), 1):
        assert_close(f"{name} stage {i}", got, stage, LOGITS)
    logits = model(x)
    assert_close(f"{name} logits", logits, logits32, LOGITS)
    scale = np.abs(logits64).max()
    ours, theirs = np.abs(logits - logits64).max() / scale, np.abs(logits32 - logits64).max() / scale
    print(f"{name}: logits differ from PyTorch float64 by {ours:.1e} of scale, PyTorch float32's by {theirs:.1e}")
    assert ours < theirs


@pytest.mark.parametrize("engine", ["exact", "numpy", "PyTorch"])
@pytest.mark.parametrize("size", [(32, 32), (33, 61), (64, 32), (50, 97)])
def test_every_engine_runs_the_same_model_on_any_size(small, engine, size):
    x = images(2, *size)
    model = VAN(SMALL, small, Engine("PyTorch between NumPy arrays", ops=torch_ops) if engine == "PyTorch" else engine)
    with torch.no_grad():
        expected = torch_van.load(SMALL, small, torch.float64)(torch.from_numpy(x).double()).numpy()
    logits = model(x)
    assert logits.dtype == np.float32
    assert_close("logits", logits, expected, LOGITS)
    maps = model.features(x)
    assert [m.shape[:2] for m in maps] == [(2, 8), (2, 16), (2, 24), (2, 32)]


@pytest.mark.parametrize(
    "config",
    [
        Config((4,), (1,), (2,), classes=3),
        Config((6, 10), (2, 1), (3, 1), classes=1, layer_norm_eps=1e-5),
        Config((5, 7, 9), (1, 1, 1), (1, 2, 3), classes=7),
    ],
    ids=["one stage", "two stages", "three stages"],
)
def test_custom_shapes(config):
    tensors, x = random_tensors(config, seed=3), images(1, 40)
    with torch.no_grad():
        expected = torch_van.load(config, tensors, torch.float64)(torch.from_numpy(x).double()).numpy()
    assert_close("logits", VAN(config, tensors)(x), expected, LOGITS)


def test_the_same_bytes_for_a_batch_and_its_images(small):
    x = images(8, 48)
    model = VAN(SMALL, small)
    assert_bit_equal("single images", np.concatenate([model(x[i : i + 1]) for i in range(8)]), model(x))


THREADS = """
import hashlib, sys
sys.path.insert(0, "tests")
from support.networks import images, random_tensors
from minivan.van import VAN
from minivan.engines import Engine
from minivan.ops import activation, conv, depthwise, norm, pointwise, pool, upsample
from minivan.variants import VARIANTS
import numba
model = VAN(VARIANTS["b0"], random_tensors(VARIANTS["b0"], seed=7))
x = images(2, 64)
digests = {hashlib.sha256(y.tobytes()).hexdigest() for y in (model(x), np.concatenate([model(x[:1]), model(x[1:])]))}
print(numba.get_num_threads(), *digests)
"""


@pytest.mark.slow
def test_the_same_bytes_with_one_thread_and_with_two():
    """Two processes, so that a machine with one processor starts two threads as well."""
    said = []
    for threads in ("1", "2"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", "import numpy as np" + THREADS]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert [line[0] for line in said] == ["1", "2"]
    assert [len(line) for line in said] == [2, 2], "a batch and its single images differ"
    assert said[0][1] == said[1][1]


KERNELS = [
    conv._dense, depthwise._depthwise, depthwise._dilated_depthwise, pointwise._pointwise,
    norm._batch_norm, norm._layer_norm, activation._gelu, activation._softmax, pool._pool, upsample._bilinear,
    grad.upsample._bilinear_input,
]  # fmt: skip


@pytest.mark.slow
def test_no_kernel_of_exact_is_compiled_with_fused_or_reordered_arithmetic():
    model = VAN(SMALL, random_tensors(SMALL))
    activation.softmax(model(images(1, 32)))
    upsample.upsample_bilinear(images(1, 32), (5, 7))
    grad.upsample_bilinear_input(images(1, 32), (5, 7))
    for kernel in KERNELS:
        # compiled afresh: what comes from the cache has no listing
        fresh = numba.njit(**{k: v for k, v in kernel.targetoptions.items() if k in ("parallel",)})(kernel.py_func)
        fresh.compile(kernel.signatures[0])
        listing = "".join(fresh.inspect_asm().values())
        assert "mul" in listing or "div" in listing
        fused = re.findall(r"\bvf(?:n?m(?:add|sub))\w*|\bfmadd\b|\bfmla\b", listing)
        assert not fused, f"{kernel.__name__}: {fused[:3]}"
        source = "".join(fresh.inspect_llvm().values())
        assert not re.search(r"\bf(?:add|mul|sub|div) (?:\w+ )*(?:fast|contract|reassoc)\b", source)


def test_a_hook_sees_every_module_of_the_checkpoint_in_order(small):
    seen = {}
    VAN(SMALL, small)(images(1, 32), hook=lambda path, array: seen.__setitem__(path, array))
    recorded, net = [], torch_van.load(SMALL, small)
    for path, module in net.named_modules():
        if path and not isinstance(module, torch.nn.ModuleList):
            module.register_forward_hook(lambda m, i, y, path=path: recorded.append((path, y)))
    with torch.no_grad():
        net(torch.from_numpy(images(1, 32)))
    # PyTorch's containers that minivan writes as one expression, with the operator whose output theirs is.
    same = {f"patch_embed{i}": f"patch_embed{i}.norm" for i in range(1, 5)}
    for path, y in recorded:
        ours = same.get(path, path)
        ours = ours.removesuffix(".mlp") + ".mlp.fc2" if ours.endswith(".mlp") else ours
        ours = ours + ".dwconv" if ours.endswith("mlp.dwconv") else ours
        y = y.numpy()
        y = y.transpose(0, 3, 1, 2) if path.startswith("norm") else y
        assert_close(path, seen[ours], y, LOGITS)
    paths = list(seen)
    assert paths[0] == "patch_embed1.proj" and paths[-2:] == ["pool", "head"]
    order = [same.get(path, path) for path, _ in recorded if path in seen]
    assert order == [path for path in paths if path in order]


def test_what_a_hook_returns_replaces_what_it_saw(small):
    x, gate = images(1, 32), "block4.0.attn.spatial_gating_unit"
    seen = {}
    model = VAN(SMALL, small)
    plain = model(x, hook=lambda path, array: seen.__setitem__(path, array))
    assert_bit_equal("the same array given back", model(x, hook=lambda path, a: a.copy() if path == gate else None), plain)
    added = seen["block4.0.attn.activation"] + seen["block4.0.attn.spatial_gating_unit.conv1"]
    assert not np.array_equal(model(x, hook=lambda path, a: added if path == gate else None), plain)
    with pytest.raises(ValueError, match=r"what replaces .*spatial_gating_unit must have its shape"):
        model(x, hook=lambda path, a: 1.0 if path == gate else None)


def test_wrong_tensors_are_named(small):
    missing = {k: v for k, v in small.items() if k != "block3.1.mlp.fc1.bias"}
    with pytest.raises(ValueError, match=r"block3\.1\.mlp\.fc1\.bias \(96,\) is missing"):
        VAN(SMALL, missing)
    with pytest.raises(ValueError, match=r"'surprise' \(1,\) is unknown"):
        VAN(SMALL, {**small, "surprise": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match=r"head\.weight has the shape \(32, 10\), not \(10, 32\)"):
        VAN(SMALL, {**small, "head.weight": small["head.weight"].T})
    with pytest.raises(ValueError, match=r"norm4\.bias has the dtype int64"):
        VAN(SMALL, {**small, "norm4.bias": np.zeros(32, np.int64)})
    for engine in ("warp", None, depthwise):
        with pytest.raises(ValueError, match="no engine is called"):
            VAN(SMALL, small, engine=engine)


def test_float64_tensors_are_rounded_so_that_every_array_is_float32(small):
    wide = VAN(SMALL, {name: tensor.astype(np.float64) for name, tensor in small.items()})
    dtypes = set()
    logits = wide(images(1, 32), hook=lambda path, array: dtypes.add(array.dtype.name))
    assert dtypes == {"float32"}
    assert_bit_equal("float64 tensors", logits, VAN(SMALL, small)(images(1, 32)))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((3, 64, 64), np.float32), "(3, 64, 64)"),
        (np.zeros((1, 4, 64, 64), np.float32), "(1, 4, 64, 64)"),
        (np.zeros((1, 3, 31, 64), np.float32), "31 x 64"),
        (np.zeros((1, 3, 64, 64), np.uint8), "uint8"),
    ],
)
def test_wrong_images_are_named(small, x, said):
    with pytest.raises(ValueError) as error:
        VAN(SMALL, small)(x)
    assert said in str(error.value)


def test_an_empty_batch_gives_empty_logits(small):
    assert VAN(SMALL, small)(np.zeros((0, 3, 32, 32), np.float32)).shape == (0, 10)


def test_layer_norm_eps_is_a_field_of_the_configuration(small):
    x = images(1, 32) * np.float32(1e-3)
    coarse = dataclasses.replace(SMALL, layer_norm_eps=1e-2)
    assert not np.array_equal(VAN(SMALL, small)(x), VAN(coarse, small)(x))


READ_ONLY = """
import numpy as np
from minivan.ops import gelu
print(gelu(np.float32([1.0])).item())
"""


@pytest.mark.slow
def test_kernels_run_where_no_cache_can_be_written(tmp_path):
    """A copy of the package in a folder where nothing can be created: not even root can make a folder inside a file."""
    (tmp_path / "site").mkdir()
    import shutil

    shutil.copytree(ROOT / "minivan", tmp_path / "site" / "minivan", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [tmp_path / "site" / "minivan", *(p for p in (tmp_path / "site" / "minivan").iterdir() if p.is_dir())]:
        (folder / "__pycache__").write_text("a file where the folder would be")
    (tmp_path / "home").write_text("not a folder")
    environment = {
        "PATH": "", "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], cwd=tmp_path / "site", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.841344"), done.stdout


# forward once, backward once for each target: VAN.arrays and VAN.derive_from


@pytest.mark.parametrize("wrt", [["norm4"], ["block3.0", "norm2"], ["input"]], ids=", ".join)
@pytest.mark.parametrize("engine", ["exact", "fast", "numpy"])
def test_each_target_is_derived_as_if_it_were_alone(engine, wrt):
    model, x = VAN(SMALL, random_tensors(SMALL), engine), images(2, 32, 40)
    saved = model.arrays(x, wrt)
    for target in (3, [1, 4], None, np.linspace(-1, 1, 10)):
        together, alone = model.derive_from(saved, target, wrt), model.derive(x, target, wrt)
        assert list(together.gradients) == list(together.values) == wrt
        assert_bit_equal("logits", together.logits, alone.logits)
        assert_bit_equal("target", together.target, alone.target)
        for path in wrt:
            assert_bit_equal(path, together.gradients[path], alone.gradients[path])
            assert_bit_equal(path, together.values[path], alone.values[path])


def test_it_runs_nothing_forward():
    engine, passes = counting()
    model = VAN(SMALL, random_tensors(SMALL), engine)
    saved = model.arrays(images(3, 32), ["input"])
    for target in range(3):
        model.derive_from(saved, target, "input")
    assert passes == [3]


@pytest.mark.parametrize(
    "saved_for, wrt, said",
    [
        (["norm4"], ["norm3"], "the saved arrays lack norm3: save those that `arrays` returns for norm3"),
        (["norm4"], ["input"], "the saved arrays lack patch_embed1.proj: save those that `arrays` returns for input"),
        (["norm4"], ["norm5"], "no layer or parameter is called 'norm5'"),
    ],
)
def test_arrays_that_were_not_saved_are_named(saved_for, wrt, said):
    model = VAN(SMALL, random_tensors(SMALL))
    saved = model.arrays(images(1, 32), saved_for)
    with pytest.raises(ValueError) as error:
        model.derive_from(saved, 0, wrt)
    assert said in str(error.value)


def test_an_engine_without_derivatives_says_so_before_the_forward_pass():
    model = VAN(SMALL, random_tensors(SMALL), Engine("plain", ops=REFUSING.ops))
    for call in (lambda: model.derive(images(1, 32)), lambda: model.derive_from({}), model.derivatives):
        with pytest.raises(ValueError, match="the engine plain has no derivatives; auto, fast, exact, numpy have"):
            call()


def test_a_model_says_what_it_is():
    assert str(VAN(SMALL, random_tensors(SMALL))) == "unnamed (VAN, 10 classes)"
    b0 = VARIANTS["b0"]
    assert str(VAN(b0, random_tensors(b0), card=Card("mine"))) == "mine (VAN-B0, 1000 classes)"
