"""Class activation maps: which places of a feature map speak for a class. One small function per method.

`activation` is an array that a hook sees, (N, C, H, W), `gradient` the derivative of the class's logit by it; a map is
(N, H, W) in the array's own resolution. A method whose paper ends with a ReLU shows evidence for the class alone; cam and
hirescam keep the sign, so that evidence against it shows too.
"""

from __future__ import annotations

import numpy as np

from ..checks import Floating


def cam(activation: Floating, class_weights: Floating) -> Floating:
    """Zhou et al. 2016, "Learning Deep Features for Discriminative Localization" (CVPR): the head, applied at each place.

    `activation` is the last LayerNorm's output, `class_weights` (N, C) the head's row of each image's class. No gradient is
    needed, and nothing is lost: the map's mean plus the head's bias is the logit.
    """
    found: Floating = np.einsum("nchw,nc->nhw", activation, class_weights)
    return found


def gradcam(activation: Floating, gradient: Floating) -> Floating:
    """Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks" (ICCV), equations 1 and 2.

    Each channel weighs as much as its derivative does on average; what speaks against the class is cut off. At the last
    LayerNorm this is `cam`, divided by the number of places, behind a ReLU.
    """
    return relu((gradient.mean(axis=(2, 3), keepdims=True) * activation).sum(axis=1))


def gradcam_plus_plus(activation: Floating, gradient: Floating) -> Floating:
    """Chattopadhay et al. 2018, "Grad-CAM++: Improved Visual Explanations" (WACV).

    Like Grad-CAM, but a place's derivative counts more where few places carry its channel, so that several objects of one
    class all show. The paper derives exp(logit); its factor exp(logit) scales the whole map and is left out.
    """
    square, cube = gradient**2, gradient**3
    denominator = 2 * square + activation.sum(axis=(2, 3), keepdims=True) * cube
    alpha = np.divide(square, denominator, out=np.zeros_like(square), where=denominator != 0)
    weights = (alpha * relu(gradient)).sum(axis=(2, 3), keepdims=True)
    return relu((weights * activation).sum(axis=1))


def hirescam(activation: Floating, gradient: Floating) -> Floating:
    """Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM" (arXiv 2011.08891).

    Activation times derivative, place by place: nothing is averaged, so a place that the network did not use stays dark.
    """
    found: Floating = (gradient * activation).sum(axis=1)
    return found


def layercam(activation: Floating, gradient: Floating) -> Floating:
    """Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps" (IEEE TIP 30).

    Each place weighs its own positive derivative: made for early stages, where the average derivative says little.
    """
    return relu((relu(gradient) * activation).sum(axis=1))


def relu(x: Floating) -> Floating:
    """Return x, of any shape, with 0 in the place of what lies below."""
    return np.maximum(x, 0)
