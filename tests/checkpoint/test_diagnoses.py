"""What is refused is refused for the true reason, with the next step: one test for each line of the tables."""

import pickle
import re
import struct

import numpy as np
import pytest
from support import saved
from support.judge import safetensors_torch, torch

from minivan.checkpoint import CheckpointError, read

NOT_OURS = "minivan computes VAN alone: use the library that made the file"


def refusal(path):
    with pytest.raises(CheckpointError) as raised:
        read(path)
    message = str(raised.value).removeprefix(str(path))
    assert "\n" not in message and len(message) < 1100
    return message


def ones(*names):
    return {name: torch.ones(2) for name in names}


OTHERS = {
    "ResNet": (("conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "fc.weight"), "a ResNet"),
    "ResNet in a wrapper": (("model.backbone.layer4.2.conv3.weight",), "a ResNet"),
    "ViT of timm": (("cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "norm.weight"), "a ViT"),
    "ViT of Hugging Face": (("vit.encoder.layer.0.attention.attention.query.weight",), "a ViT"),
    "Swin": (("layers.0.blocks.0.attn.relative_position_bias_table", "layers.0.blocks.0.attn.qkv.weight"), "a Swin"),
    "ConvNeXt": (("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"), "a ConvNeXt"),
    "ConvNeXt of timm": (("stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), "a ConvNeXt"),
    "EfficientNet": (("_conv_stem.weight", "_blocks.0._depthwise_conv.weight"), "an EfficientNet"),
    "EfficientNet of timm": (
        ("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.0.0.se.x.weight"),
        "an EfficientNet",
    ),
    "EfficientNet of torchvision": (("features.1.0.block.0.0.weight", "classifier.1.weight"), "an EfficientNet"),
    "MobileNetV2": (("features.1.conv.0.0.weight",), "a MobileNet"),
    "DenseNet": (("features.denseblock1.denselayer1.norm1.weight",), "a DenseNet"),
    "VGG": (("features.0.weight", "features.2.bias", "classifier.0.weight"), "a VGG"),
    "YOLO": (("model.0.conv.weight", "model.2.cv1.conv.weight"), "a YOLO"),
    "PVT": (
        ("patch_embed1.proj.weight", "block1.0.norm1.weight", "block1.0.attn.q.weight", "block1.0.attn.kv.weight"),
        "PVT",
    ),
    "ResNet of Hugging Face": (("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight",), "a ResNet"),
    "ConvNeXt of torchvision": (("features.1.0.layer_scale", "features.1.0.block.0.weight"), "a ConvNeXt"),
    "MetaFormer": (("network.0.0.token_mixer.pool.weight",), "a MetaFormer"),
    "text": (("bert.encoder.layer.0.output.dense.weight",), "a network for text"),
}


@pytest.mark.parametrize(("names", "what"), OTHERS.values(), ids=OTHERS)
def test_another_architecture_is_named(tmp_path, names, what):
    state = ones(*names)
    message = refusal(saved.save({"state_dict": state, "epoch": 1}, tmp_path / "net.pth"))
    assert what in message and "by the names of its tensors" in message and NOT_OURS in message
    safetensors_torch.save_file(state, tmp_path / "net.safetensors")
    assert what in refusal(tmp_path / "net.safetensors")


def changed(change):
    state = dict(saved.state_dict())
    for name in list(state):
        if "spatial_gating_unit" in name:
            change(state, name)
    return state


def lsknet(state, name):
    module = name.rpartition("spatial_gating_unit.")[0] + "spatial_gating_unit"
    state |= ones(f"{module}.conv2.weight", f"{module}.conv_squeeze.weight", f"{module}.conv.weight")


def mscan(state, name):
    module = name.rpartition("spatial_gating_unit.")[0] + "spatial_gating_unit"
    state |= ones(f"{module}.conv0_1.weight", f"{module}.conv0_2.weight", f"{module}.conv3.weight")


def deformable(state, name):
    if "conv_spatial" in name:
        state[name.replace("conv_spatial.", "conv_spatial.deform_conv.")] = state.pop(name)
        state |= ones(name.replace("conv_spatial.", "conv_spatial.offset_net."))


@pytest.mark.parametrize(
    ("change", "what"),
    [(lsknet, "LSKNet, not VAN"), (mscan, "MSCAN of SegNeXt"), (deformable, "(D-LKA)")],
    ids=lambda x: str(x)[:20],
)
@pytest.mark.parametrize("prefix", ["backbone.", pytest.param("", marks=pytest.mark.slow)])
def test_relatives_of_van_are_called_what_they_are(tmp_path, change, what, prefix):
    state = {prefix + name: tensor for name, tensor in changed(change).items()}
    assert what in refusal(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.parametrize(
    "layout", ["authors", *(pytest.param(other, marks=pytest.mark.slow) for other in ("huggingface", "openmmlab"))]
)
@pytest.mark.parametrize(("kernel", "side"), [("conv0", 3), ("conv_spatial", 5), ("conv_spatial", 9), ("dwconv", 5)])
def test_other_kernels_are_refused_because_the_dilation_is_in_no_file(tmp_path, layout, kernel, side):
    state = saved.state_dict()
    for name, tensor in state.items():
        if name.endswith(f"{kernel}.weight"):
            state[name] = torch.ones(tensor.shape[0], 1, side, side)
    named = {"authors": lambda s: s, "huggingface": saved.huggingface, "openmmlab": saved.openmmlab}[layout](state)
    message = refusal(saved.save(named, tmp_path / "net.pth"))
    assert f"a VAN whose {kernel} has kernels of {side} x {side}" in message
    assert "5 x 5, then 7 x 7 with dilation 3" in message and "the dilation would have to be guessed" in message


def test_adapters_of_lora(tmp_path):
    base = "base_model.model."
    adapters = ones(f"{base}block1.0.attn.proj_1.lora_A.weight", f"{base}block1.0.attn.proj_1.lora_B.weight")
    with_base = {f"{base}{name}": tensor for name, tensor in saved.state_dict().items()} | adapters
    for state in (adapters, with_base):
        message = refusal(saved.save(state, tmp_path / "net.pth"))
        assert "adapters of LoRA" in message and "model.merge_and_unload()" in message


PEFT = {
    "LoHa": lambda state: state | ones("block1.0.attn.proj_1.hada_w1_a", "block1.0.attn.proj_1.hada_w2_b"),
    "IA3": lambda state: state | ones("block1.0.attn.proj_1.ia3_l.default"),
    "a base layer": lambda state: {name.replace("proj_1.", "proj_1.base_layer."): value for name, value in state.items()},
    "modules_to_save": lambda state: (
        {name.replace("head.", "head.modules_to_save.default."): v for name, v in state.items()}
        | {name.replace("head.", "head.original_module."): v for name, v in state.items() if name.startswith("head.")}
    ),
}


@pytest.mark.parametrize("adapt", PEFT.values(), ids=PEFT)
def test_other_adapters_of_peft(tmp_path, adapt):
    state = {f"base_model.model.{name}": value for name, value in adapt(dict(saved.state_dict())).items()}
    message = refusal(saved.save(state, tmp_path / "net.pth"))
    assert "adapters of LoRA or of its kin" in message and "model.merge_and_unload()" in message


@pytest.mark.parametrize("wrap", ["DataParallel", pytest.param("compile", marks=pytest.mark.slow)])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_whole_models_in_wrappers(tmp_path, wrap, legacy):
    model = torch.nn.Linear(2, 2)
    whole = torch.nn.DataParallel(model) if wrap == "DataParallel" else torch.compile(model)
    message = refusal(saved.save(whole, tmp_path / "net.pth", legacy))
    assert "a whole pickled model" in message and "save the state_dict() of the model inside" in message


def test_tensors_that_pickle_wrote_by_itself(tmp_path):
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(saved.state_dict()))
    assert "tensors that Python's pickle wrote by itself" in refusal(tmp_path / "net.pkl")
    assert "load them there, and save them with torch.save" in refusal(tmp_path / "net.pkl")


def test_what_deepspeed_keeps_of_an_optimizer(tmp_path):
    inner = {"fp32_flat_groups": [torch.ones(9)], "base_optimizer_state": {"exp_avg": torch.ones(9)}}
    state = {"optimizer_state_dict": inner, "ds_config": {}, "ds_version": "0.14"}
    message = refusal(saved.save(state, tmp_path / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"))
    assert "what DeepSpeed keeps of an optimizer" in message and "zero_to_fp32.py" in message


def test_a_tensor_that_was_expanded(tmp_path):
    state = saved.state_dict()
    state["block1.0.layer_scale_1"] = torch.tensor([0.01]).expand(4)
    assert "its elements overlap: save tensor.contiguous()" in refusal(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
def test_quantised_networks(tmp_path):
    step = "save the state_dict of the network before it was quantised"
    packed = {"head._packed_params.dtype": torch.qint8, "head.scale": torch.ones(1), "head.zero_point": torch.zeros(1)}
    assert step in refusal(saved.save(dict(packed), tmp_path / "net.pth"))
    assert step in refusal(saved.save(saved.state_dict() | packed, tmp_path / "net.pth"))
    state = saved.state_dict()
    state["norm4.bias"] = torch._empty_affine_quantized([8], scale=0.1, zero_point=0, dtype=torch.qint8)
    message = refusal(saved.save(state, tmp_path / "net.pth"))
    assert "norm4.bias is not a tensor that can be read: a quantised tensor" in message and step in message


def test_other_tensors_that_cannot_be_read(tmp_path):
    for tensor, words in (
        (torch.eye(8).to_sparse(), "a sparse tensor: save tensor.to_dense()"),
        (torch.ones(8, device="meta"), "a tensor on PyTorch's meta device: it never had numbers"),
    ):
        state = saved.state_dict() | {"norm4.bias": tensor}
        assert words in refusal(saved.save(state, tmp_path / "net.pth"))


def test_flattened_shards_of_fsdp(tmp_path):
    for state in (ones("_fsdp_wrapped_module._flat_param"), ones("flat_param_0", "blocks.0._fsdp_wrapped_module.flat_param")):
        assert "one shard of a network that FSDP has flattened" in refusal(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert "a TorchScript program" in refusal(path) and "model.state_dict()" in refusal(path)


def test_a_missing_tensor_is_named_with_the_nearest_that_was_there(tmp_path):
    state = saved.state_dict()
    state["block1.0.mlp.fc_1.weight"] = state.pop("block1.0.mlp.fc1.weight")
    state["norm4.biass"] = state.pop("norm4.bias")
    message = refusal(saved.save(state, tmp_path / "net.pth"))
    assert "block1.0.mlp.fc1.weight (12, 4, 1, 1) is missing, near it is 'block1.0.mlp.fc_1.weight'" in message
    assert "norm4.bias (8,) is missing, near it is 'norm4.biass'" in message


# files that are no checkpoints, or not all of one

PAGES = {
    "a web page": (b"<!DOCTYPE html><html><title>404</title></html>", "a web page: the download's address shows a page"),
    "a web page with blanks": (b"\n  <html><body>Sign in</body></html>", "a web page"),
    "S3": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a server answers, an error: AccessDenied: ask"),
    "JSON": (b'{"error":"Repository not found"}', "a server answers, an error: Repository not found: ask for access"),
    "JSON in JSON": (b'{"error": {"errors": [], "code": 403, "message": "no"}}', "a server answers, an error: 403"),
    "other JSON": (
        b'{"depths": [1, 2]}',
        "a text file: files of PyTorch, safetensors, Keras (HDF5), ONNX and PaddlePaddle are",
    ),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(50), "a TensorFlow Lite file: convert the checkpoint"),
    "TensorRT": (b"ftrt" + bytes(50), "a TensorRT engine, compiled for one GPU: convert the checkpoint"),
    "half of HDF5's mark": (b"\x89HDF\n\n" + bytes(50), "a damaged HDF5 file: fetch it again"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="van" version="11">\n<layers>', "an .xml of OpenVINO's"),
    "OpenVINO without a head": (b'<net name="van" version="11"><layers>', "the weights are in the .bin beside it"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 16\n", "a Git LFS pointer", "git lfs pull"),
    "nothing": (b"", "the file is empty: fetch it again"),
}


@pytest.mark.parametrize(("data", *("words",)), [(page[0], page[1:]) for page in PAGES.values()], ids=PAGES)
def test_pages_pointers_and_empty_files(tmp_path, data, words):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    assert all(word in refusal(path) for word in words)


ARCHIVES = {
    "NumPy": (["a.npy", "b.npy"], "NumPy arrays (.npz): pickle.dump(dict(numpy.load(FILE)), file)"),
    "torch.export": (
        ["e/data/weights/weight_0", "e/models/model.json", "e/archive_format"],
        "torch.export (.pt2): in the code",
    ),
    "torch.export before 2.8": (["serialized_exported_program.json", "version"], "a program of torch.export (.pt2)"),
    "Keras 3": (["metadata.json", "config.json", "model.weights.h5"], "Keras 3 (.keras): its weights have numbers for names"),
    "TorchServe": (["MAR-INF/MANIFEST.json", "model.pt"], "an archive of TorchServe (.mar): unpack it"),
    "a folder": (["van/readme.md", "van/model.pth"], "an archive with a checkpoint in it: unpack it first"),
    "others": (["a.txt"], "a zip file of 1 records, 'a.txt' first: not what torch.save writes"),
}


@pytest.mark.parametrize(("names", "words"), ARCHIVES.values(), ids=ARCHIVES)
def test_zip_files_of_others(tmp_path, names, words):
    path = tmp_path / "net.pth"
    path.write_bytes(saved.zip_of(dict.fromkeys(names, b"")))
    assert words in refusal(path)


def test_a_program_that_torch_export_saved(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert "a program of torch.export (.pt2): in the code that has the class" in refusal(tmp_path / "net.pt2")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_downloads_that_were_cut_off(tmp_path, kind):
    state, path = saved.state_dict(), tmp_path / "net"
    if kind == "safetensors":
        safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    else:
        saved.save(state, path, kind == "legacy")
    whole = path.read_bytes()
    for share in (0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        message = refusal(path)
        assert "cut off" in message and "fetch it again" in message, message


# numbers that are none


def odd(tmp_path, name, value, **options):
    state = saved.state_dict()
    state[name].view(-1)[0] = value
    return read(saved.save(state, tmp_path / "net.pth"), **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name",
    [
        "head.bias",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("block3.0.mlp.fc2.weight", "patch_embed1.norm.running_mean")
        ),
    ],
)
def test_numbers_that_are_none_are_found_by_name(tmp_path, name, value):
    said = f"{tmp_path / 'net.pth'}: {name} has 1 numbers that are NaN or infinite: "
    with pytest.raises(CheckpointError, match=rf"^{re.escape(said)}.*--allow-nonfinite"):
        odd(tmp_path, name, value)
    weights = odd(tmp_path, name, value, allow_nonfinite=True)
    assert f"{name} has 1 numbers that are NaN or infinite" in weights.notes
    assert np.array_equal(weights.tensors[name].ravel()[0], np.float32(value), equal_nan=True)


def test_negative_variances_are_found_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"patch_embed1\.norm\.running_var has 1 negative variances"):
        odd(tmp_path, "patch_embed1.norm.running_var", -0.5)
    assert "1 negative variances" in odd(tmp_path, "patch_embed1.norm.running_var", -0.5, allow_nonfinite=True).notes[-1]
    odd(tmp_path, "patch_embed1.norm.running_var", 0.0)
    odd(tmp_path, "patch_embed1.norm.running_mean", -0.5)


def test_of_many_odd_tensors_some_are_named(tmp_path):
    state = {
        name: tensor * float("nan") if tensor.is_floating_point() else tensor for name, tensor in saved.state_dict().items()
    }
    assert "more)" in refusal(saved.save(state, tmp_path / "net.pth"))


def test_minivan_s_own_files_are_asked_too(tmp_path):
    from minivan.checkpoint import write

    path = tmp_path / "own.safetensors"
    write(odd(tmp_path, "head.bias", float("nan"), allow_nonfinite=True), path)
    assert "head.bias has 1 numbers" in refusal(path)
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert length and read(path, allow_nonfinite=True).notes == ("head.bias has 1 numbers that are NaN or infinite",)
