"""Segmentation networks in files: mmsegmentation's, the authors' VAN-Segmentation's, and minivan's own."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import pytorch_file, saved
from support.compare import assert_bit_equal, assert_close
from support.judge import torch, torch_fpn
from support.networks import images, random_fpn_tensors, random_tensors
from tolerances import LOGITS

import minivan
from minivan import fpn
from minivan.card import SCENES, Card, SegmentationCard
from minivan.checkpoint import CheckpointError, Weights, hub, list_models, own_metadata, read, safetensors_file
from minivan.checkpoint import write as write_weights
from minivan.palette import own_palette
from minivan.segmentation import SegmentationVAN
from minivan.segmentation.files import load, write
from minivan.van import VAN
from minivan.variants import Config

CONFIG = Config((4, 6, 6, 8), (1, 2, 1, 1), (3, 2, 2, 1), classes=0, layer_norm_eps=1e-5)
HEAD = fpn.FPNConfig(CONFIG.dims, channels=5, head_channels=4, classes=3)
CLASSES, PALETTE = ("sky", "road", "tree"), ((70, 130, 180), (128, 64, 128), (107, 142, 35))
X = images(1, 64, 48)
CARD = SegmentationCard("net", CLASSES, PALETTE)
BACKBONE, TENSORS = random_tensors(CONFIG, 3), random_fpn_tensors(HEAD, 3)

# What mmsegmentation 0.x and the authors' code write of their configuration, and what 1.x does.
OLD = """
model = dict(type='EncoderDecoder', pretrained=None, backbone=dict(type='VAN', depths=[1, 2, 1, 1]))
data = dict(test=dict(type='ADE20KDataset', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(2048, 512), flip=False, transforms=[
        dict(type='AlignResize', keep_ratio=True, size_divisor=32),
        dict(type='RandomFlip'),
        dict(type='Normalize', mean=[0.0, 25.5, 51.0], std=[51.0, 51.0, 51.0], to_rgb=True),
        dict(type='ImageToTensor', keys=['img'])])]))
"""
NEW = """
data_preprocessor = dict(type='SegDataPreProcessor', mean=[0.0, 25.5, 51.0], std=[51.0, 51.0, 51.0], bgr_to_rgb=True)
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(2048, 512), keep_ratio=True)]
"""
COUNTERS = {
    f"{name}.num_batches_tracked": np.array(7) for name in ("backbone.block1.0.norm1", "decode_head.scale_heads.0.0.bn")
}


def named(names, backbone=BACKBONE):
    """The backbone's tensors as a segmentation network's file names them."""
    if names == "OpenMMLab's":
        return {saved.openmmlab_name(name): tensor for name, tensor in backbone.items()}
    mixed = names == "mmsegmentation's"
    return {
        f"backbone.{name.replace('dwconv.dwconv', 'dwconv') if mixed else name}": tensor for name, tensor in backbone.items()
    }


def old(head=TENSORS, **changed):
    state = named("the authors'") | head | COUNTERS
    meta = {"mmseg_version": "0.12.0", "config": OLD, "CLASSES": list(CLASSES), "PALETTE": [list(c) for c in PALETTE]}
    return {"meta": meta | changed, "state_dict": state, "optimizer": {"state": {0: {"exp_avg": np.ones(3, np.float32)}}}}


def new(names="OpenMMLab's"):
    state = {f"module.{name}": tensor for name, tensor in (named(names) | TENSORS | COUNTERS).items()}
    state |= {"module.auxiliary_head.conv_seg.bias": np.ones(3, np.float32)}
    said = {"classes": CLASSES, "palette": np.array(PALETTE, np.uint8)}
    return {"meta": {"mmseg_version": "1.2.2", "cfg": NEW, "dataset_meta": said}, "state_dict": state, "message_hub": {}}


@pytest.fixture(scope="module")
def logits():
    return direct()(X)


def direct(card=CARD, classes=0):
    config = replace(CONFIG, classes=classes)
    tensors = BACKBONE | {n: t for n, t in random_tensors(config).items() if n.startswith("head")}
    return SegmentationVAN(VAN(config, tensors, "numpy", Card("bone")), TENSORS, card)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("contents", [old(), new(), new("the authors'"), new("mmsegmentation's")], ids=lambda c: "")
def test_other_libraries_files_give_the_logits_of_their_tensors(tmp_path, logits, contents, legacy):
    model = load(pytorch_file.write(contents, tmp_path / "seg.pth", legacy), engine="numpy")
    assert_bit_equal("logits", model(X), logits)
    preprocessing = replace(SCENES, mean=(0.0, 0.1, 0.2), std=(0.2, 0.2, 0.2))
    assert model.card == SegmentationCard("seg", CLASSES, PALETTE, 512, preprocessing, source="seg.pth")
    assert model.card.notes == () and (model.config, model.backbone.config) == (HEAD, CONFIG)
    notes = "; ".join(model.backbone.card.notes)
    assert "with a Semantic FPN of 5 channels, 3 classes: its LayerNorm eps is 1e-05" in notes
    assert "neck" not in notes and "decode_head" not in notes
    weights = read(tmp_path / "seg.pth")
    assert weights.config == CONFIG and weights.notes[-1].startswith("on it lies a Semantic FPN")


@pytest.mark.parametrize("key", ["state_dict.student", "state_dict.student.backbone"])
def test_of_two_networks_the_one_that_is_asked_for_is_read_with_its_head(tmp_path, logits, key):
    contents = old()
    other = {name: 2 * tensor for name, tensor in contents["state_dict"].items()}
    both = saved.prefixed("student.", contents["state_dict"]) | saved.prefixed("teacher.", other)
    path = pytorch_file.write(contents | {"state_dict": both}, tmp_path / "seg.pth")
    assert_bit_equal("logits", load(path, engine="numpy", key=key)(X), logits)
    with pytest.raises(CheckpointError, match="2 networks: 'state_dict"):
        load(path)


def test_pytorch_computes_the_same_of_what_it_saved_itself(tmp_path):
    net = torch_fpn.load(CONFIG, BACKBONE, HEAD, TENSORS)
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("backbone.head")}
    path = saved.save({"meta": {"mmseg_version": "0.30"}, "state_dict": state}, tmp_path / "net.pth")
    model = load(path, engine="numpy")
    with torch.no_grad():
        assert_close("logits", model(X), net(torch.from_numpy(X)).numpy(), LOGITS)
    assert model.card.classes == () and model.card.palette == own_palette(3) and "they are" in model.card.notes[0]


@pytest.mark.parametrize(
    ("changed", "said", "expected"),
    [
        ({"PALETTE": [[1, 2, 3]]}, "its palette is left out", {"palette": own_palette(3)}),
        ({"PALETTE": [[1, 2, 300]] * 3}, "its palette is left out", {"palette": own_palette(3)}),
        ({"PALETTE": None}, "", {"palette": own_palette(3)}),
        ({"CLASSES": ["sky", "road"]}, "its 2 class names are left out: it has 3", {"classes": ()}),
        ({"CLASSES": ["sky", "road", "x" * 300]}, "its class names are left out", {"classes": ()}),
        ({"CLASSES": ["sky", "road", 3]}, "class names under 'meta.CLASSES' are not understood", {"classes": ()}),
        ({"config": OLD.replace("keep_ratio=True", "keep_ratio=False")}, "keeps the ratio of their sides", {"side": 512}),
        ({"config": OLD.replace("(2048, 512)", "(2048, 5)")}, "as they are is taken", {"side": None}),
        ({"config": OLD.replace("to_rgb=True", "to_rgb=False")}, "colours are in the order BGR: minivan does not", {}),
    ],
)
def test_what_is_said_of_classes_colours_and_sizes_is_taken_or_left_out_in_a_sentence(tmp_path, changed, said, expected):
    card = load(pytorch_file.write(old(**changed), tmp_path / "seg.pth"), engine="numpy").card
    assert said in "; ".join(card.notes) and bool(card.notes) == bool(said)
    assert {field: getattr(card, field) for field in expected} == expected


def test_the_authors_first_backbones_have_their_own_eps(tmp_path):
    contents = old(config=OLD.replace("'VAN'", "'van_tiny'"))
    assert read(pytorch_file.write(contents, tmp_path / "seg.pth")).config.layer_norm_eps == 1e-6


def test_colours_are_those_of_a_data_preprocessor_among_the_tensors(tmp_path):
    contents = old(config="")
    for name, values in (("mean", [0.0, 25.5, 51.0]), ("std", [51.0] * 3)):
        contents["state_dict"][f"data_preprocessor.{name}"] = np.array(values, np.float32).reshape(3, 1, 1)
    card = load(pytorch_file.write(contents, tmp_path / "seg.pth"), engine="numpy").card
    assert np.allclose([card.preprocessing.mean, card.preprocessing.std], [(0.0, 0.1, 0.2), (0.2, 0.2, 0.2)])


def without(name):
    return {key: tensor for key, tensor in TENSORS.items() if key != name}


WIDER = random_fpn_tensors(replace(HEAD, dims=(4, 6, 6, 9)))
MANY = random_fpn_tensors(replace(HEAD, classes=300))
DAMAGED = [
    (without("neck.fpn_convs.2.conv.bias"), "neck.fpn_convs.2.conv.bias is missing"),
    (TENSORS | {"neck.fpn_convs.4.conv.bias": np.ones(5, np.float32)}, "neck.fpn_convs.4.conv.bias is unknown"),
    (TENSORS | {"decode_head.conv_seg.bias": np.ones(4, np.float32)}, r"conv_seg.bias has the shape \(4,\), not \(3,\)"),
    (WIDER, r"for maps of \(4, 6, 6, 9\) channels on a backbone with \(4, 6, 6, 8\)"),
    (MANY, "for 300 classes: minivan's masks tell 1 to 256 apart"),
]


@pytest.mark.parametrize(("head", "said"), DAMAGED)
def test_a_head_that_is_not_whole_leaves_a_backbone(tmp_path, head, said):
    path = pytorch_file.write(old(head), tmp_path / "seg.pth")
    with pytest.raises(CheckpointError, match=f"no segmentation head: its Semantic FPN cannot be used, .*{said}"):
        load(path)
    weights = read(path)
    assert weights.config == CONFIG and any("a segmentation network with a Semantic FPN" in note for note in weights.notes)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("decode_head.fpn_bottleneck.conv.weight", "a segmentation network with UPerNet's head"),
        ("decode_head.psp_modules.0.1.conv.weight", "a segmentation network with PSPNet's head"),
        ("decode_head.hamburger.ham_in.conv.weight", "a segmentation network with SegNeXt's head"),
        ("decode_head.convs.0.conv.weight", "a segmentation network"),
        ("roi_head.mask_head.convs.0.conv.weight", "a network that finds objects and their masks"),
        ("bbox_head.retina_cls.weight", "a network that finds objects"),
        ("neck.fpn_convs.0.conv.weight", "an OpenMMLab network that does more than classify"),
    ],
)
def test_a_backbone_with_another_head_says_whose_it_is(tmp_path, run, name, title):
    path = pytorch_file.write(old({name: np.ones(3, np.float32)}, config=""), tmp_path / "net.pth")
    status, out, err = run("weights", "show", path)
    assert status == 0 and f"the backbone of {title}: its LayerNorm eps is 1e-05" in out
    status, out, err = run("convert", path, tmp_path / "net.safetensors")
    assert status == 0 and f"note: the backbone of {title}: its" in err
    with pytest.raises(CheckpointError, match="no segmentation head: "):
        load(path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("classes", [0, 5])
def test_a_network_of_its_own_is_read_as_it_was_written(tmp_path, dtype, classes):
    figures = (("mIoU", "50.0 % of 233 scenes"),)
    model = direct(SegmentationCard("net", CLASSES, PALETTE, 360, figures=figures), classes)
    write(tmp_path / "net.safetensors", model, dtype)
    again = load(tmp_path / "net.safetensors", engine="numpy")
    assert again.card == model.card and again.backbone.config == model.backbone.config
    for name, tensor in (model.tensors | model.backbone.tensors).items():
        assert_bit_equal(name, (again.tensors | again.backbone.tensors)[name], tensor.astype(dtype).astype(np.float32))
    write(tmp_path / "again.safetensors", again, dtype)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    assert minivan.load(tmp_path / "net.safetensors", "numpy").card.notes[-1].endswith("minivan segment uses it")


@pytest.fixture
def apart(tmp_path):
    """A backbone in a file, and the head for it in another."""
    model = direct()
    write_weights(Weights(CONFIG, BACKBONE, model.backbone.card), tmp_path / "bone.safetensors")
    write(tmp_path / "streets_fpn.safetensors", model, alone=True)
    return tmp_path / "streets_fpn.safetensors", tmp_path / "bone.safetensors"


def test_a_head_by_itself_goes_on_its_own_backbone_alone(tmp_path, apart, logits):
    head, bone = apart
    model = load(head, bone, "numpy")
    assert_bit_equal("logits", model(X), logits)
    assert model.card.backbone == "bone" and len(model.card.backbone_sha256) == 64
    write(tmp_path / "again.safetensors", model)  # it names its backbone, and goes without it again
    assert (tmp_path / "again.safetensors").read_bytes() == head.read_bytes()
    other = Weights(CONFIG, random_tensors(CONFIG, 4), Card("other"))
    write_weights(other, tmp_path / "other.safetensors")
    said = r"a head for the backbone bone \([0-9a-f]{12}\.\.\.\): not for other \([0-9a-f]{12}\.\.\.\)$"
    with pytest.raises(CheckpointError, match=said):
        load(head, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=said):
        write(
            tmp_path / "no.safetensors",
            SegmentationVAN(VAN(other.config, other.tensors, "numpy", other.card), TENSORS, model.card),
        )
    with pytest.raises(CheckpointError, match="no weights here have its name"):
        load(head)
    with pytest.raises(CheckpointError, match=r"a segmentation head by itself, without its backbone: .*segment"):
        minivan.load(head)
    write(tmp_path / "both.safetensors", model, alone=False)
    assert_bit_equal("logits", load(tmp_path / "both.safetensors", engine="numpy")(X), logits)
    with pytest.raises(CheckpointError, match="leave out the weights"):
        load(tmp_path / "both.safetensors", bone)
    with pytest.raises(CheckpointError, match="no segmentation head: these weights classify, or give features"):
        load(bone)


def test_the_bundled_head_lies_beside_the_bundled_weights_and_is_none_of_them(apart, logits, monkeypatch, run):
    head, bone = apart
    monkeypatch.setattr(hub, "bundled_folder", lambda: head.parent)
    assert_bit_equal("logits", load(engine="numpy")(X), logits)
    assert load("streets_fpn", engine="numpy").card.file == head
    assert hub.find() == bone and hub.bundled() == [bone] and list_models("*_*") == [] and "bone" in list_models()
    assert run("weights", "list", "--names")[1] == "bone\n" and "streets" not in run("weights")[1]
    assert "Semantic FPN: 5 channels" in run("weights", "show", "streets_fpn")[1]
    head.unlink()
    with pytest.raises(CheckpointError, match="no segmentation head is here"):
        load()


def test_convert_keeps_backbone_and_head_or_one_of_them(tmp_path, logits, run):
    path = pytorch_file.write(old(CLASSES=None, config=OLD.replace("to_rgb=True", "to_rgb=False")), tmp_path / "seg.pth")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    both, head, bone = (tmp_path / f"{name}.safetensors" for name in ("both", "head", "bone"))
    status, out, err = run("convert", path, both, "--resize", "360", "--labels", names)
    assert err.count("colours are in the order BGR") == 1  # they are of backbone and head
    assert status == 0 and "0 classes, " in out and ", with Semantic FPN of 5 channels, 3 classes, float32" in out
    card = load(both, engine="numpy").card
    assert (card.classes, card.palette, card.side, card.source) == (CLASSES, PALETTE, 360, "seg.pth")
    assert len(card.source_sha256) == 64 and card.preprocessing.mean == (0.0, 0.1, 0.2)
    assert run("convert", path, head, "--head-only")[1].startswith(
        f"{head}: a segmentation head for seg alone, Semantic FPN of 5"
    )
    status, out, err = run("convert", path, bone, "--backbone-only")
    assert "which is left out here: minivan segment uses it" in err and "Semantic" not in out
    for model in (load(both, engine="numpy"), load(head, bone, "numpy")):
        assert_bit_equal("logits", model(X), logits)
    shown = run("weights", "show", head)[1]
    rows = "mask 3 (their names are not known)", "palette #4682b4 ", "scenes shorter side 512, mean 0 0.1 0.2", "backbone seg"
    for row in (*rows, "neck float32 16 tensors", "decode_head float32 37 tensors"):
        assert row in " ".join(shown.split())
    for arguments, said in (
        ((head, tmp_path / "no.safetensors", "--eps", "1e-6"), "--eps is for a network, and this is a segmentation head"),
        ((head, tmp_path / "no.safetensors", "--backbone-only"), "a segmentation head by itself, without its backbone"),
        ((bone, tmp_path / "no.safetensors", "--head-only"), "no segmentation head: these weights classify, or give features"),
        ((path, tmp_path / "no.onnx", "--head-only"), "--head-only writes a file of minivan's own"),
        ((both, tmp_path / "no.safetensors", "--resize", "8"), "a photo's shorter side is scaled to 32 to 8192 pixels"),
    ):
        status, out, err = run("convert", *arguments)
        assert status == 2 and said in err and err.count("\n") == 1 and not arguments[1].exists()


def own_file(path, tensors, said=None, **metadata):
    """A file of minivan's own whose metadata say something else of the head."""
    texts = own_metadata.describe_segmentation(CARD)
    fields = json.loads(texts[own_metadata.SEGMENTATION]) | (said or {})
    texts[own_metadata.SEGMENTATION] = json.dumps({key: value for key, value in fields.items() if value != "gone"})
    safetensors_file.write(path, tensors, texts | metadata)
    return path


@pytest.mark.parametrize(("head", "said"), [case for case in DAMAGED if case[0] is not WIDER])
def test_a_head_of_its_own_that_is_not_whole_is_refused(tmp_path, head, said):
    with pytest.raises(CheckpointError, match=said):
        load(own_file(tmp_path / "net.safetensors", head))


def test_a_head_of_its_own_for_other_maps_is_refused(tmp_path):
    metadata = own_metadata.describe(CONFIG, Card("net"))
    with pytest.raises(CheckpointError, match=r"for maps of \(4, 6, 6, 9\) channels on a backbone"):
        load(own_file(tmp_path / "net.safetensors", WIDER | BACKBONE, **metadata))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"palette": PALETTE[:2]}, "2 colours for 3 classes"),
        ({"classes": [], "palette": PALETTE[:2]}, "0 class names and 2 colours for 3 classes"),
        ({"classes": [], "palette": []}, "0 class names and 0 colours for 3 classes"),
        ({"classes": ["x"] * 300, "palette": [[0, 0, 0]] * 300}, "tells 256 classes apart, not 300"),
        ({"palette": [[0, 0, 256]] * 3}, "three whole numbers from 0 to 255"),
        ({"palette": [[0, 0, 1.5]] * 3}, "a colour is a list of three whole numbers"),
        ({"palette": 3}, "metadata's segmentation"),
        ({"classes": ["a\nb", "c", "d"]}, "in the place of a text on one line"),
        ({"classes": None}, "metadata's segmentation"),
        ({"side": 8}, "32 to 8192 pixels"),
        ({"side": "512"}, "32 to 8192 pixels"),
        ({"mean": [0.5]}, "mean and std are three numbers each"),
        ({"std": [1, 1, 0]}, "std positive"),
        ({"interpolation": "cubic"}, "the interpolation is"),
        ({"backbone_sha256": "12"}, "has 64 hex digits"),
        ({"figures": [["mIoU", "1"]] * 65}, "a list of at most 64"),
        ({"source": "gone"}, "'source' is missing"),
    ],
)
def test_metadata_that_cannot_be_meant_are_refused_in_one_line(tmp_path, said, words):
    with pytest.raises(CheckpointError, match=words) as raised:
        load(own_file(tmp_path / "net.safetensors", TENSORS, said))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"a": 1, "a": 1}', "[" * 5000])
def test_metadata_that_are_no_object_are_refused_in_one_line(tmp_path, text):
    with pytest.raises(CheckpointError, match="segmentation"):
        load(own_file(tmp_path / "net.safetensors", TENSORS, segmentation=text))
    with pytest.raises(CheckpointError, match="minivan's format '2'"):
        load(own_file(tmp_path / "net.safetensors", TENSORS, minivan="2"))


def test_what_would_not_be_read_again_is_not_written(tmp_path):
    model = direct()
    for card, said in (
        (replace(model.card, figures=(("mIoU", "1"),) * 65), "at most 64"),
        (replace(model.card, classes=(), palette=PALETTE[:2]), "2 colours for 3 classes"),
    ):
        model.card = card
        with pytest.raises(CheckpointError, match=said):
            write(tmp_path / "net.safetensors", model)
    assert not list(tmp_path.iterdir())
