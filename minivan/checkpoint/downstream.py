"""Backbones in networks of OpenMMLab's that do more than classify: mmsegmentation's, mmdetection's.

There a VAN is built with torch.nn.LayerNorm's own eps, also where its tensors have the authors' names, and its photos are
normalised as ImageNet's usually are (mmsegmentation, projects/van; the authors' VAN-Segmentation and VAN-Detection).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .openmmlab_config import within

LAYER_NORM_EPS = 1e-5  # torch.nn.LayerNorm's default
PRESET = "hf"  # of minivan.card.PRESETS: the same means and deviations
BACKBONE = "backbone"
NECK, HEAD = "neck", "_head"  # 'decode_head', 'auxiliary_head', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head'
LIBRARIES = ("mmseg_version", "mmdet_version", "mmcv_version", "mmengine_version")  # what their checkpoints' `meta` say
ANY = "an OpenMMLab network that does more than classify"
# Backbones of the authors' first VAN-Segmentation, by `model.backbone.type`: they were built with the authors' eps.
FIRST, FIRST_EPS = ("van_tiny", "van_small", "van_base", "van_large"), 1e-6
# How a tensor's name begins in the network around a backbone, two parts of it -> what that is, the first that fits.
NETWORKS = (
    (r"decode_head\.scale_heads\.", "a segmentation network with a Semantic FPN"),
    (r"decode_head\.fpn_bottleneck\.", "a segmentation network with UPerNet's head"),
    (r"decode_head\.psp_modules\.", "a segmentation network with PSPNet's head"),
    (r"decode_head\.(?:hamburger|squeeze)\.", "a segmentation network with SegNeXt's head"),
    (r"decode_head\.(?:image_pool|aspp_modules)\.", "a segmentation network with DeepLab's head"),
    (r"decode_head\.fusion_conv\.", "a segmentation network with SegFormer's head"),
    (r"decode_head\.(?:pixel_decoder|transformer_decoder)\.", "a segmentation network with Mask2Former's head"),
    (r"decode_head\.", "a segmentation network"),
    (r"(?:roi_head\.)?mask_head\.", "a network that finds objects and their masks"),
    (r"(?:roi_head|rpn_head|bbox_head)\.", "a network that finds objects"),
)
MODULES = ("neck.", "decode_head.", "data_preprocessor.", "roi_head.", "rpn_head.", "bbox_head.", "mask_head.")
CLASSIFIERS = ("head", "fc", "classifier")  # what the heads of networks are called that classify and do no more
BOTTOM_UP = "bottom_up"  # what detectron2's feature pyramids call their backbone
DETECTRON2 = ("proposal_generator", "roi_heads", "sem_seg_head")


def title(names: Iterable[str]) -> str:
    """Say what a network is that has a VAN as its backbone, by the names of its other tensors; '' where they tell nothing."""
    starts = {".".join((*name.split(".", 2)[:2], "")) for name in names}
    return next((title for pattern, title in NETWORKS if any(re.match(pattern, start) for start in starts)), "")


def note(around: str, eps: float) -> str:
    """Say whose backbone a network is, where it does not lie there by itself, and which eps it has therefore."""
    return f"the backbone of {around or ANY}: its LayerNorm eps is {eps:g}"


def layer_norm_eps(configuration: Mapping[str, Any]) -> float:
    """Return the eps of every LayerNorm in such a network's backbone, by its configuration where that is there."""
    return FIRST_EPS if within(configuration, "model.backbone.type") in FIRST else LAYER_NORM_EPS


def is_downstream(label: str, names: str, beside: Iterable[str], contents: object) -> bool:
    """Tell whether a network without a head is the backbone of such a network.

    `label` says where it lies ('state_dict.backbone'), `names` what its library calls its backbone ('backbone.' in OpenMMLab's
    names), `beside` how the names of the tensors around it begin, `contents` is all that the file holds.
    """
    beside = tuple(beside)
    if _is_detectron2(label, beside):
        return False
    if any(name == NECK or name.endswith(HEAD) for name in beside):
        return label.rpartition(".")[2] == BACKBONE or names == f"{BACKBONE}."
    return _by_meta(contents) and label.rpartition(".")[2] == BACKBONE and not any(name in CLASSIFIERS for name in beside)


def doubt(label: str, beside: Iterable[str], contents: object, eps: float) -> str:
    """Return why LayerNorm's eps is a guess, where another library built a network of the authors' code; else ''."""
    taken = f"its LayerNorm eps is a guess: {eps:g}, the authors', was taken (another: convert --eps)"
    if _is_detectron2(label, beside):
        return f"the backbone of a detectron2 network, which does not say how it was built: {taken}"
    if _by_meta(contents) and label.rpartition(".")[2] == BACKBONE:
        return f"OpenMMLab's file with the authors' names, and OpenMMLab's own VAN has {LAYER_NORM_EPS:g}: {taken}"
    return ""


def _is_detectron2(label: str, beside: Iterable[str]) -> bool:
    return BOTTOM_UP in label.split(".") or any(name in DETECTRON2 for name in beside)


def _by_meta(contents: object) -> bool:
    meta = contents.get("meta") if isinstance(contents, Mapping) else None
    return isinstance(meta, Mapping) and any(key in meta for key in LIBRARIES)
