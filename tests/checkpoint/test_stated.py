"""What files say of preprocessing and of class names beside the weights."""

import argparse
import json
import tracemalloc
from dataclasses import replace

import pytest
from support import saved
from support.judge import safetensors_torch

from minivan.card import PRESETS, Preprocessing
from minivan.checkpoint import CheckpointError, facts, opened, openmmlab_config, read, stated, write
from minivan.checkpoint.budget import Budget

OFFICIAL, HF = PRESETS["official"], PRESETS["hf"]
IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
CONVNEXT = dict(
    image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 224}, crop_pct=0.875, resample=3, **IMAGENET
)
CAFFE = [[v / 255 for v in values] for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))]
MMPRETRAIN = """
data_preprocessor = dict(
    mean=[127.5, 127.5, 127.5], num_classes=1000, std=[
        127.5,
        127.5,  # per channel
        127.5,
    ], to_rgb=True)
model = dict(backbone=dict(arch='tiny', type='VAN'), type='ImageClassifier')
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), lr=1e-3, weight_decay=5e-02))
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(backend='pillow', edge='short', interpolation='bicubic', scale=248, type='ResizeEdge'),
            dict(crop_size=224, type='CenterCrop'),
            dict(type='PackInputs'),
        ],
        type='ImageNet'))
"""
MMCLS = """
dataset_type = 'ImageNet'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=(256, -1), backend='pillow', interpolation='bilinear'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
]
"""


def budget():
    return Budget(1 << 20)


# Hugging Face


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (CONVNEXT, HF),
        (CONVNEXT | dict(size=224), HF),
        (CONVNEXT | dict(size={"shortest_edge": 288}, crop_pct=0.95), replace(HF, crop=288, resize=303)),
        (CONVNEXT | dict(resample=2), replace(HF, interpolation="bilinear")),
        (dict(feature_extractor_type="ConvNextFeatureExtractor", size=192), replace(HF, crop=192, resize=219)),
        (dict(do_normalize=False), replace(HF, mean=(0,) * 3, std=(1,) * 3)),
        (dict(image_mean=[0.5] * 3, image_std=[0.25] * 3), replace(HF, mean=(0.5,) * 3, std=(0.25,) * 3)),
        (
            dict(image_processor_type="BitImageProcessor", size={"shortest_edge": 232}, do_center_crop=True,
                 crop_size={"height": 224, "width": 224}),
            replace(HF, resize=232, crop=224),
        ),
        ({}, HF),
        (dict(size="large", crop_pct=7, resample=99, image_mean=[1, "a", 2], image_std=3), HF),
    ],
)  # fmt: skip
def test_an_image_processor_says_size_crop_filter_mean_and_std(fields, expected):
    assert stated.of_processor(fields).applied(HF) == (expected, ())


@pytest.mark.parametrize(
    ("fields", "phrase"),
    [
        (CONVNEXT | dict(size={"shortest_edge": 384}), "both sides are resized to the same length"),
        (dict(image_processor_type="ViTImageProcessor", size={"height": 224, "width": 224}), "both sides are resized"),
        (dict(do_rescale=False), "values are not divided by 255"),
        (dict(rescale_factor=0.5), "values are not divided by 255"),
        (dict(do_resize=False), "images are not resized"),
    ],
)
def test_what_minivan_does_not_do_is_said(fields, phrase):
    (note,) = stated.of_processor(fields).applied(HF)[1]
    assert note.startswith(f"preprocessor_config.json says that {phrase}") and note.endswith(": minivan does not")


def test_a_folder_s_processor_is_used_and_shown(tmp_path):
    state = saved.huggingface(saved.state_dict())
    safetensors_torch.save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CONVNEXT | dict(size={"shortest_edge": 288}, resample=2)))
    weights = read(tmp_path)
    assert weights.card.preprocessing == replace(HF, crop=288, resize=329, interpolation="bilinear")
    assert not any("preprocessor_config.json" in note for note in weights.notes)
    with opened(tmp_path) as checkpoint:
        assert facts(checkpoint)["input"] == (
            "shorter side 329, crop 288, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, bilinear"
        )
    write(weights, tmp_path / "own.safetensors")
    assert read(tmp_path / "own.safetensors").card.preprocessing == weights.card.preprocessing
    for text in ("[]", "{", '{"a": NaN}'):
        (tmp_path / "preprocessor_config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
            read(tmp_path)


# timm


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (dict(img_size=None, input_size=None, crop_pct=None, mean=None, std=None, interpolation=""), OFFICIAL),
        (dict(img_size=192), replace(OFFICIAL, crop=192, resize=213)),
        (dict(input_size=(3, 288, 288), crop_pct=1.0), replace(OFFICIAL, crop=288, resize=288)),
        (dict(crop_pct=0.875, interpolation="bilinear"), replace(OFFICIAL, resize=256, interpolation="bilinear")),
        (dict(mean=[0.485, 0.456, 0.406], std=(0.229, 0.224, 0.225)), replace(OFFICIAL, mean=HF.mean, std=HF.std)),
        (dict(mean=[0.1], std=[0.2]), replace(OFFICIAL, mean=(0.1,) * 3, std=(0.2,) * 3)),
        (dict(interpolation="random", crop_pct=-1, img_size="big"), OFFICIAL),
    ],
)
def test_a_training_script_s_arguments_are_read_as_timm_reads_them(fields, expected):
    assert stated.of_arguments(fields).applied(OFFICIAL) == (expected, ())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("made", [lambda **fields: fields, argparse.Namespace])
def test_arguments_beside_the_weights_are_used(tmp_path, made, legacy):
    args = made(img_size=96, opt_betas=None, lr=1e-3, mean=(0.1, 0.2, 0.3), std=[0.4, 0.5, 0.6])
    path = saved.save({"state_dict": saved.state_dict(), "args": args}, tmp_path / "net.pth", legacy)
    weights = read(path)
    assert weights.card.preprocessing == Preprocessing(96, 106, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert not any("Namespace" in note for note in weights.notes)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(input_size=(3, 224, 192)), "args says that images are not square: minivan does not"),
        (dict(mean=[0.5] * 4, std=[0.5] * 4), "what args says of preprocessing is left out: it is for 4 channels"),
        (dict(mean=[0.5] * 3, std=[0.0] * 3), "what args says of preprocessing is left out (mean and std have"),
    ],
)
def test_arguments_that_do_not_fit_are_left_out_aloud(fields, words):
    preprocessing, (note,) = stated.of_arguments(fields).applied(OFFICIAL)
    assert preprocessing == OFFICIAL and note.startswith(words)


# OpenMMLab


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MMPRETRAIN, OFFICIAL),
        (MMCLS, Preprocessing(224, 256, CAFFE[0], CAFFE[1], "bilinear")),
        ("test_pipeline = []", OFFICIAL),
        ("", OFFICIAL),
    ],
)  # fmt: skip
def test_a_configuration_s_test_pipeline_is_read(text, expected):
    assert stated.of_openmmlab(openmmlab_config.read(text, budget())).applied(OFFICIAL) == (expected, ())


@pytest.mark.parametrize("key", ["cfg", "config"])
def test_a_configuration_beside_the_weights_is_used(tmp_path, key):
    contents = {"meta": {key: MMCLS}, "state_dict": saved.openmmlab(saved.state_dict())}
    assert read(saved.save(contents, tmp_path / "net.pth")).card.preprocessing.resize == 256


@pytest.mark.parametrize(
    ("step", "phrase"),
    [
        ("dict(type='Resize', size=224, backend='pillow')", "both sides are resized"),
        ("dict(type='mmpretrain.ResizeEdge', scale=256)", "OpenCV resizes"),
        ("dict(type='Normalize', mean=[1.0], std=[2.0], to_rgb=False)", "colours are in the order BGR"),
    ],
)
def test_a_pipeline_s_steps_that_minivan_does_not_do_are_said(step, phrase):
    (note,) = stated.of_openmmlab(openmmlab_config.read(f"test_pipeline = [{step}]", budget())).applied(OFFICIAL)[1]
    assert note.startswith(f"meta.cfg says that {phrase}")


def test_of_a_configuration_what_gives_literals_to_names_is_read():
    text = "a = 1\nb = -2.5e3\nc = 'it' \"'s\"  # said\nd = {'k': (1, None), 3: True}\ne = dict()\nf = open('x')\ng = 1\n"
    found = openmmlab_config.read(text, budget())
    assert found == {"a": 1, "b": -2500.0, "c": "it's", "d": {"k": [1, None], "3": True}, "e": {}, "g": 1}


@pytest.mark.parametrize(
    "text",
    [
        "import os", "a = 200 + 24", "a = 200; c = 1", "a = b.c", "a = f('x', [\nc\n])", "a: int = 1", "a += 1", "a == 1",
        "a = (1", "f(\na=1,\n)", "if True:\n    a = 1", '"""\na = 1\n"""', "x = f(\'\'\'\na = 1\n\'\'\')", "a = f'{1}'",
        "a = 'it\nc", "a", "a =", "a = {[1]: 2}", ")", "a = lambda: 0", "a = 1 \\\n+ 1", "[a\n] = 1", "a = 1e",
    ],
)  # fmt: skip
def test_what_a_configuration_says_besides_is_passed_over(text):
    assert openmmlab_config.read(text, budget()) == {}
    expected = {} if text in UNCLOSED else {"size": 224}
    assert openmmlab_config.read(f"{text}\nsize = 224\n", budget()) == expected


@pytest.mark.parametrize("statement", ["size = side()", "size += 1", "size = 200 + 24"])
def test_a_value_that_is_changed_later_is_not_known(statement):
    assert openmmlab_config.read(f"size = 1\n{statement}\nother = 2", budget()) == {"other": 2}


UNCLOSED = ("a = (1", "a =")  # the next line belongs to them


SEGMENTATION = """
test_pipeline = [dict(type='Resize', scale=(2048, 512), keep_ratio=True)]
data_preprocessor = dict(type='SegDataPreProcessor', mean=[0.0, 25.5, 51.0], std=[51.0, 51.0, 51.0], bgr_to_rgb=BGR)
"""


@pytest.mark.parametrize("rgb", [True, False])
def test_of_a_segmentation_network_s_configuration_colours_are_taken(tmp_path, rgb):
    state = saved.without_head(saved.state_dict())
    contents = {
        "meta": {"cfg": SEGMENTATION.replace("BGR", str(rgb)), "mmseg_version": "1.2.2"},
        "state_dict": saved.prefixed("backbone.", state) | {"decode_head.conv_seg.bias": state["norm1.bias"]},
    }
    weights = read(saved.save(contents, tmp_path / "net.pth"))
    assert weights.card.preprocessing == replace(HF, mean=(0.0, 0.1, 0.2), std=(0.2, 0.2, 0.2))
    notes = [note for note in weights.notes if "meta.cfg" in note]
    assert notes == ([] if rgb else ["meta.cfg says that colours are in the order BGR: minivan does not"])


MOST = 10_000  # characters: what each costs is the same in longer ones
REPEATED = ("[", "dict(b=", "-", "9", "1 + ", "'", "\\", "'b' ", "{", "((", "0,", "#", "\n", "{},", "[],", "1: 2,", "1.,")
STATEMENTS = ("a = [\n", "a = dict(\n", "'\\", "'''\n", "\n'", "a=0\n", "a=''\n", "a=[[[", ")\n", ".", "'''", "a=(1)\n")
HOSTILE = [
    *("a = " + (part * MOST)[:MOST] for part in REPEATED),
    *(f"a = {opening}" + (part * MOST)[: MOST - 1] for opening in "[{" for part in REPEATED[-5:]),
    *((part * MOST)[:MOST] for part in STATEMENTS),
    "a = __import__('os').system('id')", "a = lambda: 0", "\0" * 1000, "a = 1e999999", "a = \ud800", "a = {[1]: 2}",
    "import os", "a", "a =", "=" * 100, "a = (1", "é = 1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_configurations_are_read_within_the_budget(text):
    given = Budget(len(text))
    tracemalloc.start()
    try:
        openmmlab_config.read(text, given)
        assert tracemalloc.get_traced_memory()[1] < given.memory + (1 << 16)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [None, 3, ["a = 1"], {"a": 1}, "x" * (openmmlab_config.LONGEST_TEXT + 1)])
def test_what_is_no_text_of_a_configuration_says_nothing(value):
    assert openmmlab_config.read(value, budget()) == {}
