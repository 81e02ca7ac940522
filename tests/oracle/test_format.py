"""FORMAT.md says what the test vectors are: a port that was written from it alone has their names and their bits."""

import re

import numpy as np
import pytest
import truth

from minivan.oracle import cases, vectors

CASES = {f"{case.operator}/{case.name}": case for case in cases.all_cases()}
TEXT = vectors.GUIDE.read_text(encoding="utf-8")


def lines(heading):
    """The lines `name = ...` of the code block that follows a heading."""
    block = TEXT.split(f"**{heading}**")[1].split("```")[1]
    return [line.split(" = ")[0].strip() for line in block.strip().splitlines()]


class Port:
    """The operators as FORMAT.md words them: float64 inside, rounded to float32 once."""

    def __init__(self, case):
        self.p = {name: tensor.values for name, tensor in case.parameters.items()}
        self.a, self.out = case.attributes, {}

    def put(self, name, value):
        self.out[name] = np.asarray(value, np.float32)
        return self.out[name]

    def conv(self, name, x, groups=1, path="", **kernel):
        w, b = (self.p[f"{path}{name}.{leaf}"] for leaf in ("weight", "bias"))
        return self.put(f"{path}{name}", truth.conv2d(x, w, b, **{k: (v, v) for k, v in kernel.items()}, groups=groups))

    def norm(self, name, x, eps, path=""):
        leaves = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.p[f"{path}{name}.{leaf}"][:, None, None].astype("f8") for leaf in leaves)
        return self.put(f"{path}{name}", (x - mean) / np.sqrt(var + eps) * weight + bias)

    def gelu(self, name, x):
        return self.put(name, truth.gelu(x))

    def lka(self, u, path="", name="lka"):
        c = u.shape[1]
        v = self.conv("conv0", u, c, path, padding=2)
        v = self.conv("conv_spatial", v, c, path, padding=9, dilation=3)
        return self.put(path.rstrip(".") or name, u * self.conv("conv1", v, path=path))

    def block(self, x, path, eps):
        def scaled(name, z):
            return np.asarray(self.p[f"{path}{name}"][:, None, None] * z, np.float32)

        z = self.norm("norm1", x, eps, path)
        u = self.gelu(f"{path}attn.activation", self.conv("attn.proj_1", z, path=path))
        attn = self.put(f"{path}attn", z + self.conv("attn.proj_2", self.lka(u, f"{path}attn.spatial_gating_unit."), path=path))
        x = self.put(f"{path}layer_scale_1", x + scaled("layer_scale_1", attn))
        h = self.conv("mlp.fc1", self.norm("norm2", x, eps, path), path=path)
        h = self.conv("mlp.dwconv.dwconv", h, h.shape[1], path, padding=1)
        h = self.conv("mlp.fc2", self.gelu(f"{path}mlp.act", h), path=path)
        return self.put(path.rstrip(".") or "itself", x + scaled("layer_scale_2", h))

    def network(self, x):
        a = self.a
        for i, depth in enumerate(a["depths"], start=1):
            kernel = dict(stride=4, padding=3) if i == 1 else dict(stride=2, padding=1)
            x = self.norm(f"patch_embed{i}.norm", self.conv(f"patch_embed{i}.proj", x, **kernel), a["batch_norm_eps"])
            for j in range(depth):
                x = self.block(x, f"block{i}.{j}.", a["batch_norm_eps"])
            x = self.layer_norm(f"norm{i}", x, a["layer_norm_eps"])
        n, c, h, w = x.shape
        total = np.zeros((n, c))
        for position in range(h * w):
            total += x.reshape(n, c, h * w)[:, :, position]
        pool = self.put("pool", total / (h * w))[:, :, None, None]
        weight, bias = self.p["head.weight"][:, :, None, None], self.p["head.bias"]
        self.put("head", truth.conv2d(pool, weight, bias)[:, :, 0, 0])

    def layer_norm(self, name, x, eps):
        c = x.shape[1]
        mean, var = np.zeros((2, *x[:, 0].shape))
        for channel in range(c):
            mean += x[:, channel]
        mean = mean / c
        for channel in range(c):
            var += np.square(x[:, channel] - mean)
        weight, bias = (self.p[f"{name}.{leaf}"][:, None, None].astype("f8") for leaf in ("weight", "bias"))
        return self.put(name, (x - mean[:, None]) / np.sqrt(var / c + eps)[:, None] * weight + bias)


def written(case):
    port = Port(case)
    if case.operator == "lka":
        port.lka(case.x.values)
    elif case.operator == "network":
        port.network(case.x.values)
    else:
        port.block(case.x.values, "", case.attributes["eps"])
        port.out = {f"block2.0.{name}": value for name, value in port.out.items() if name != "itself"} | {
            "block2.0": port.out["itself"]
        }
    return port.out


@pytest.mark.parametrize("name", ["lka/integers", "lka/real", "block/real", "network/tiny"])
def test_what_is_written_from_the_description_has_the_bits_of_the_vectors(name):
    right, ours = vectors.compute(CASES[name]), written(CASES[name])
    assert set(right) == set(ours)
    for path, array in right.items():
        assert np.array_equal(array, ours[path]), path


def test_the_description_names_every_output_in_order():
    assert lines("LKA") == list(vectors.compute(CASES["lka/integers"]))
    block = [f"block2.0.{name}" for name in lines("A block")[:-1]] + ["block2.0"]
    assert block == list(vectors.compute(CASES["block/real"])) and lines("A block")[-1] == "(the block's own path)"
    expected = []
    for i, depth in enumerate(cases.TINY.depths, start=1):
        for name in lines("A network"):
            for j in range(depth) if "{j}" in name else [0]:
                filled = name.replace("{i}", str(i)).replace("{j}", str(j))
                expected += [path.replace("block2.0", filled) for path in block] if "{j}" in name else [filled]
    found = list(vectors.compute(CASES["network/tiny"]))
    assert [*expected, "pool", "head"] == found and re.search(r"^pool .*\n^head ", TEXT, re.MULTILINE)
