"""Backbones in networks of OpenMMLab's that do more than classify: mmsegmentation's, mmdetection's.

There a VAN is built with torch.nn.LayerNorm's own eps, also where its tensors have the authors' names, and its photos are
normalised as ImageNet's usually are (mmsegmentation, projects/van; the authors' VAN-Segmentation and VAN-Detection).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LAYER_NORM_EPS = 1e-5  # torch.nn.LayerNorm's default
PRESET = "hf"  # of minivan.card.PRESETS: the same means and deviations
BACKBONE = "backbone"
NECK, HEAD = "neck", "_head"  # 'decode_head', 'auxiliary_head', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head'
LIBRARIES = ("mmseg_version", "mmdet_version", "mmcv_version", "mmengine_version")  # what their checkpoints' `meta` say
NOTE = "the backbone of an OpenMMLab network that does more than classify: its LayerNorm eps is 1e-05"
CLASSIFIERS = ("head", "fc", "classifier")  # what the heads of networks are called that classify and do no more
BOTTOM_UP = "bottom_up"  # what detectron2's feature pyramids call their backbone
DETECTRON2 = ("proposal_generator", "roi_heads", "sem_seg_head")


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
