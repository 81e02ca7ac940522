"""The grammar of paths."""

import numpy as np
import pytest
from support.networks import images, random_tensors

from minivan import geometry, paths
from minivan.van import VAN
from minivan.variants import VARIANTS, Config, parameter_shapes

pytestmark = pytest.mark.loop


@pytest.mark.parametrize(
    "config", [Config((8, 16, 24, 32), (1, 1, 2, 1), (8, 8, 4, 4), classes=10), Config((6, 10), (2, 1), (3, 1), classes=4)]
)
def test_all_paths_are_what_a_hook_sees_in_order(config):
    seen = []
    model = VAN(config, random_tensors(config), engine="numpy")
    model(images(1, 32), hook=lambda path, array: seen.append(path))
    assert model.paths() == ["input", *seen]
    assert paths.all_paths(config.depths, head=False) == ["input", *seen[:-2]]


def test_strides_are_those_of_the_maps():
    config = Config((4, 4, 4, 4), (1, 1, 1, 1), (1, 1, 1, 1), classes=2)
    shapes = {"input": (256, 128)}

    def keep(path, array):
        if array.ndim == 4:
            shapes[path] = array.shape[2:]

    VAN(config, random_tensors(config), engine="numpy")(images(1, 256, 128), hook=keep)
    assert len(shapes) == 1 + 4 * (2 + 16 + 1)
    for path, (height, width) in shapes.items():
        assert (height, width) == (256 // paths.stride_of(path), 128 // paths.stride_of(path)), path
    with pytest.raises(ValueError, match="pool has no positions"):
        paths.stride_of("pool")


@pytest.mark.parametrize(
    ("path", "stage", "block", "needed"),
    [
        ("input", None, None, 1),
        ("patch_embed3.proj", 3, None, 3),
        ("block2.11.attn.proj_1", 2, "block2.11", 2),
        ("block4.0", 4, "block4.0", 4),
        ("norm1", 1, None, 2),
        ("norm4", 4, None, 5),
        ("pool", None, None, 5),
        ("head", None, None, 5),
        ("block", None, None, 5),
        ("norm12", None, None, 5),
    ],
)
def test_where_a_path_belongs(path, stage, block, needed):
    assert (paths.stage_of(path), paths.block_of(path), paths.needed_from(path)) == (stage, block, needed)
    place = paths.block_place(path)
    assert (place and paths.block(*place)) == block


def test_every_tensor_belongs_to_a_stage_or_the_head():
    for name, _ in parameter_shapes(VARIANTS["b3"]):
        assert paths.stage_of(name) in (1, 2, 3, 4) or name.startswith("head.")


def test_nested_tensors_read_as_calls():
    tree = paths.nested({"block1.0.norm1.weight": 1, "block1.0.norm1.bias": 2, "head.bias": 3})
    assert tree == {"block1": {"0": {"norm1": {"weight": 1, "bias": 2}}}, "head": {"bias": 3}}


def test_blocks_of_a_network():
    assert paths.blocks([2, 1]) == [["block1.0", "block1.1"], ["block2.0"]]
    assert paths.last_blocks([2, 1]) == ["block1.1", "block2.0"] and paths.norms(2) == ["norm1", "norm2"]


def test_geometry_gives_the_sizes_of_the_maps():
    assert geometry.stage_sizes(4, 224, 225) == [(56, 57), (28, 29), (14, 15), (7, 8)]
    for kernel in (geometry.CONV0, geometry.CONV_SPATIAL, geometry.DWCONV, geometry.POINTWISE):
        assert geometry.output_side(14, kernel) == 14, "every kernel of a block keeps the map's size"
        assert kernel.padding == kernel.reach
    assert [geometry.stage_stride(i) for i in range(5)] == [1, 4, 8, 16, 32]
    assert geometry.CONV0.reach + geometry.CONV_SPATIAL.reach == 11 and np.prod(geometry.PATCH_STRIDES) == 32


def test_kernel_sizes_stand_once():
    """Whoever needs one reads it from geometry: the checkpoint's shapes follow it."""
    shapes = dict(parameter_shapes(VARIANTS["b0"]))
    unit = f"block1.0.{paths.UNIT}"
    assert shapes[f"{unit}.conv0.weight"][2:] == (geometry.CONV0.side,) * 2
    assert shapes[f"{unit}.conv_spatial.weight"][2:] == (geometry.CONV_SPATIAL.side,) * 2
    assert shapes["block1.0.mlp.dwconv.dwconv.weight"][2:] == (geometry.DWCONV.side,) * 2
    assert [shapes[f"patch_embed{i}.proj.weight"][2] for i in (1, 2, 3, 4)] == list(geometry.PATCH_KERNELS)


def test_a_blocks_lka_is_known_by_its_paths():
    seen = paths.all_paths([1, 2])
    blocks = ["block1.0", "block2.0", "block2.1"]
    for known, name in ((paths.is_unit, paths.UNIT), (paths.is_factor, paths.FACTOR), (paths.is_gated, paths.GATED)):
        assert [path for path in seen if known(path)] == [f"{block}.{name}" for block in blocks]
    scaled = [path for path in seen if paths.is_layer_scale(path)]
    assert scaled == [f"{block}.layer_scale_1" for block in blocks]  # the second's sum is the block's own output
    assert paths.is_layer_scale("block2.1.layer_scale_2") and not paths.is_layer_scale("layer_scale_2")
    assert [paths.within_block(path) for path in ("block2.1", "block2.1.mlp.fc1")] == ["", "mlp.fc1"]
    with pytest.raises(ValueError, match="norm1 lies in no block"):
        paths.within_block("norm1")
    assert paths.lies_under("block1.0.attn", "block1.0") and paths.lies_under("block1.0", "block1.0")
    assert not paths.lies_under("block1.10", "block1.1")
    assert paths.branch(paths.nested({"block1.0.attn.proj_1.bias": 1}), "block1.0.attn") == {"proj_1": {"bias": 1}}
