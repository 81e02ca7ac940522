"""A VAN with a Semantic FPN on it, on one engine: images in, a map of logits for each class out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from .. import fpn, model, paths
from ..checks import Float32
from ..engines import ENGINES, Engine, MapPlan
from ..floating import undisturbed
from ..hooks import Callback, Hook
from ..operators import SegmentationOperators
from ..van import VAN, check_channels
from ..variants import counted, listed, title, unusual_channels
from .card import SegmentationCard


class SegmentationVAN:
    """A VAN as backbone with the neck and head of a Semantic FPN, on the backbone's engine.

    `tensors` maps the names of `fpn.parameter_shapes(config)` to floating arrays of those shapes, which are rounded to float32;
    the numbers of channels and classes are theirs. ValueError names what is missing, unknown, misshapen or not floating, and
    says where they are those of another backbone. The backbone's own head, where it has one, is not used.
    """

    def __init__(self, backbone: VAN, tensors: Mapping[str, Any], card: SegmentationCard) -> None:
        check_channels(backbone.config, card)
        self.backbone, self.card = backbone, card
        self.config = checked_config(tensors, backbone, card)
        with undisturbed():
            self.tensors: dict[str, Float32] = {
                name: np.asarray(tensors[name], np.float32) for name, _ in fpn.parameter_shapes(self.config)
            }
            self._make_ready()

    def _make_ready(self) -> None:
        """Make of the tensors what the engine computes with."""
        self.parameters = paths.nested({name: self.engine.array(tensor) for name, tensor in self.tensors.items()})
        self.plan = self._compiled()
        self._settled: dict[str, Self] = {}  # on the engines that this one has chosen

    def _compiled(self) -> MapPlan | None:
        """Return backbone, neck and head as the engine compiles them together; None where it does not."""
        if self.engine.compile_fpn is None:
            return None
        return self.engine.compile_fpn(self.backbone.config, self.backbone.tensors, self.config, self.tensors)

    @property
    def engine(self) -> Engine:
        """Who computes: the backbone's engine."""
        return self.backbone.engine

    def settled(self, images: int | None = None, height: int | None = None, width: int | None = None) -> Self:
        """Return this model on the engine that 'auto' takes for so many images of a size; itself on any other engine.

        None is a number of images that is not known, and counts as many; a side is by default that of the card's photos, or of
        the backbone's. The model that is returned keeps its engine: whoever has many images has them all computed by one.
        """
        choose = self.engine.choose_fpn
        if choose is None:
            return self
        side = self.card.side or self.backbone.card.preprocessing.crop
        with undisturbed():
            engine = choose(self.backbone.config, self.config, images, height or side, width or side)
            made = self._settled.get(engine.name)
            if made is None:
                made = object.__new__(type(self))
                vars(made).update(vars(self), backbone=self.backbone.on(engine))
                made.plan = made._compiled()
                self._settled[engine.name] = made
        return made

    def __getstate__(self) -> dict[str, Any]:
        """What of a model travels to another process, or into a copy: the tensors, not what was made of them."""
        return {name: value for name, value in vars(self).items() if name not in ("parameters", "plan", "_settled")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        with undisturbed():
            self._make_ready()

    def __call__(self, x: npt.ArrayLike, hook: Callback | None = None) -> Float32:
        """Return float32 logits (N, classes, H / 4, W / 4), rounded up, for images (N, C, H, W), H, W >= 32, as VAN takes them.

        `hook(path, array)` is shown every operator's output under its path in the checkpoint: the backbone's as for `VAN`, then
        'neck.lateral_convs.0.conv' to 'decode_head.conv_seg'; an array that it returns takes the place of the one it was shown.
        Raises ValueError for another shape or dtype.
        """
        images = self.backbone.checked(x)
        if hook is None and self.engine.choose_fpn is not None:
            return self.settled(len(images), *images.shape[2:])(images)
        if hook is None and self.plan is not None:
            return self.plan(images)
        engine, backbone = self.engine, self.backbone
        if not engine.segments:
            able = ", ".join(name for name, engine in ENGINES.items() if engine.segments)
            raise ValueError(f"the engine {engine} has no ReLU and no upsampling, which segmentation needs; {able} have")
        ops = cast(SegmentationOperators, engine.ops)
        with undisturbed():
            if hook is None and not engine.hooks:  # it compiles the backbone alone
                maps = [engine.array(each) for each in backbone.features(images)]
            else:
                maps = model.features(ops, Hook(hook), engine.array(images), backbone.parameters, backbone.config)
            logits = fpn.segment(ops, Hook(hook), maps, self.parameters, self.config)
        return np.asarray(logits, np.float32)

    def __str__(self) -> str:
        """Which weights these are, of which network, for how many classes: 'camvid (VAN-B0 with Semantic FPN, 11 classes)'."""
        shape = f"{title(self.backbone.config)} with Semantic FPN{unusual_channels(self.backbone.config)}"
        return f"{self.card.name} ({shape}, {counted(self.config.classes, 'class', 'classes')})"

    def __repr__(self) -> str:
        """The same, with its engine."""
        return f"<SegmentationVAN {self}, engine {self.engine}>"


def checked_config(tensors: Mapping[str, Any], backbone: VAN, card: SegmentationCard) -> fpn.FPNConfig:
    """Return the shape that a neck's and a head's tensors have; ValueError where they do not belong to the backbone."""
    faults = [
        f"{name} has the dtype {dtype}"
        for name, dtype in ((name, np.asarray(tensor).dtype) for name, tensor in tensors.items())
        if not np.issubdtype(dtype, np.floating)
    ]
    if faults:
        raise ValueError(f"the tensors of a Semantic FPN are floating: {listed(faults)}")
    if backbone.config.stages != fpn.MAPS:
        raise ValueError(f"a Semantic FPN takes the maps of {fpn.MAPS} stages; the backbone has {backbone.config.stages}")
    config = fpn.config_of(tensors)
    if config.dims != backbone.config.dims:
        raise ValueError(
            f"the tensors are of a Semantic FPN for maps of {config.dims} channels; the backbone's have {backbone.config.dims}"
        )
    if card.classes and len(card.classes) != config.classes:
        raise ValueError(f"the card names {len(card.classes)} classes, and the head has {config.classes}")
    return config
