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


def is_downstream(label: str, names: str, beside: Iterable[str], contents: object) -> bool:
    """Tell whether a network without a head is the backbone of such a network.

    `label` says where it lies ('state_dict.backbone'), `names` what its library calls its backbone ('backbone.' in OpenMMLab's
    names), `beside` how the names of the tensors around it begin, `contents` is all that the file holds.
    """
    if any(name == NECK or name.endswith(HEAD) for name in beside):
        return label.rpartition(".")[2] == BACKBONE or names == f"{BACKBONE}."
    meta = contents.get("meta") if isinstance(contents, Mapping) else None
    by_meta = isinstance(meta, Mapping) and any(key in meta for key in LIBRARIES)
    return by_meta and label.rpartition(".")[2] == BACKBONE
