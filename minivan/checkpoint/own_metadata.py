"""What minivan's own files say of themselves: texts in a safetensors or ONNX file's metadata, structured ones as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..card import SCENES, Card, Label, Preprocessing, SegmentationCard, is_commit, usual_activation
from ..errors import is_line, printable, quote
from ..geometry import PATCH_STRIDES
from ..palette import Colour
from ..variants import COLOURS, Config
from .budget import Budget
from .error import CheckpointError
from .json_text import parse_json
from .tensor import is_natural

USUAL_INTERPOLATION = Preprocessing().interpolation
KEY, VERSION = "minivan", "1"  # the key that tells minivan's own files from others, and the version of what follows

MOST_FIGURES = 64  # that weights may say of themselves
SEGMENTATION = "segmentation"  # the key of what is said of a Semantic FPN, JSON
STRUCTURED = ("shape", "eps", "preprocessing", "labels", "not_sure", "figures")  # JSON, where the others are texts


def is_own(metadata: Mapping[str, str]) -> bool:
    """True for the metadata of a file that minivan wrote."""
    return KEY in metadata


def is_segmentation(metadata: Mapping[str, str]) -> bool:
    """True for the metadata of a file with a Semantic FPN in it."""
    return SEGMENTATION in metadata


def is_head_alone(metadata: Mapping[str, str]) -> bool:
    """True for the metadata of a file with a Semantic FPN and no backbone."""
    return is_segmentation(metadata) and "shape" not in metadata


def describe(config: Config, card: Card, usual: bool = False) -> dict[str, str]:
    """Return the metadata of a file of minivan's own; with `usual`, for other readers, also what goes without saying for it."""
    shape: dict[str, Any] = {
        "dims": config.dims, "depths": config.depths, "mlp_ratios": config.mlp_ratios, "classes": config.classes,
    }  # fmt: skip
    if usual or config.channels != COLOURS:
        shape["channels"] = config.channels
    preprocessing: dict[str, Any] = {
        "crop": card.preprocessing.crop, "resize": card.preprocessing.resize,
        "mean": card.preprocessing.mean, "std": card.preprocessing.std,
    }  # fmt: skip
    if usual or card.preprocessing.interpolation != USUAL_INTERPOLATION:
        preprocessing["interpolation"] = card.preprocessing.interpolation
    values = {
        "shape": shape,
        "eps": {"layer_norm": config.layer_norm_eps, "batch_norm": config.batch_norm_eps},
        "preprocessing": preprocessing,
        "labels": [[label.wnid, label.name] for label in card.labels],
    }  # fmt: skip
    texts = {key: json.dumps(value) for key, value in values.items()}
    texts |= {KEY: VERSION, "layout": card.layout, "source": card.source, "source_sha256": card.source_sha256}
    if usual or card.version:
        texts["version"] = card.version
    if card.not_sure is not None:
        texts["not_sure"] = json.dumps(card.not_sure)
    if usual or card.activation != usual_activation(config.classes):
        texts["activation"] = card.activation
    if card.commit:
        texts["commit"] = card.commit
    if card.figures:
        texts["figures"] = json.dumps(card.figures)
    if usual:
        texts["name"] = printable(card.name)  # a file name need not be text, which protobuf asks for
    return texts


def describe_segmentation(card: SegmentationCard) -> dict[str, str]:
    """Return the metadata of a Semantic FPN: all there are in a file of its own, or beside `describe`'s of the backbone."""
    said: dict[str, Any] = {
        "classes": card.classes, "palette": card.palette, "side": card.side,
        "mean": card.preprocessing.mean, "std": card.preprocessing.std, "interpolation": card.preprocessing.interpolation,
        "backbone": card.backbone, "backbone_sha256": card.backbone_sha256,
        "source": card.source, "source_sha256": card.source_sha256, "figures": card.figures,
    }  # fmt: skip
    return {KEY: VERSION, SEGMENTATION: json.dumps(said)}


def understand_segmentation(name: str, metadata: Mapping[str, str], budget: Budget) -> SegmentationCard:
    """Return the card that `describe_segmentation` wrote, with this name. CheckpointError as for `understand`."""
    part = f"the metadata's {SEGMENTATION}"
    _check_version(metadata)
    try:
        said = parse_json(metadata[SEGMENTATION], part, budget)
        mean, std = (_channels(said[field], COLOURS) for field in ("mean", "std"))
        return SegmentationCard(
            name,
            tuple(_text(each) for each in said["classes"]),
            tuple(_colour(each) for each in said["palette"]),
            said["side"],
            replace(SCENES, mean=mean, std=std, interpolation=_text(said["interpolation"])),
            _text(said["backbone_sha256"]),
            _text(said["backbone"]),
            _text(said["source"]),
            _text(said["source_sha256"]),
            _figures(said["figures"]),
        )
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(part, f"{quote(error.args[0])} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(part, str(error)) from None


def _check_version(metadata: Mapping[str, str]) -> None:
    if metadata[KEY] != VERSION:
        raise CheckpointError(f"minivan's format {quote(metadata[KEY])}", f"a later one wrote it; this knows {VERSION}")


def understand(name: str, metadata: Mapping[str, str], budget: Budget) -> tuple[Config, Card]:
    """Return what `describe` wrote, on a card with this name. CheckpointError says which part is missing or out of range."""
    _check_version(metadata)
    part = "shape"
    try:
        shape = parse_json(metadata[part], f"the metadata's {part}", budget)
        dims, depths, ratios = (tuple(_whole_numbers(shape[field])) for field in ("dims", "depths", "mlp_ratios"))
        classes, channels = _whole_numbers([shape["classes"], shape.get("channels", COLOURS)])
        config = Config(dims, depths, ratios, classes, channels=channels)
        part = "eps"
        eps = parse_json(metadata[part], f"the metadata's {part}", budget)
        config = replace(config, layer_norm_eps=_epsilon(eps["layer_norm"]), batch_norm_eps=_epsilon(eps["batch_norm"]))
        part = "preprocessing"
        fields = parse_json(metadata[part], f"the metadata's {part}", budget)
        crop, resize = _whole_numbers([fields["crop"], fields["resize"]])
        mean, std = (_channels(fields[field], channels) for field in ("mean", "std"))
        preprocessing = Preprocessing(crop, resize, mean, std, _text(fields.get("interpolation", USUAL_INTERPOLATION)))
        part = "labels"
        labels = tuple(_label(pair) for pair in parse_json(metadata[part], f"the metadata's {part}", budget))
        if labels and len(labels) != config.classes:
            raise ValueError(f"{len(labels)} labels for {config.classes} classes")
        part = "layout, source or source_sha256"
        layout, source, source_sha256 = (_text(metadata[key]) for key in ("layout", "source", "source_sha256"))
        part = "version"  # this and what follows are newer than the format: a file may do without
        version = _text(metadata.get("version", ""))
        part = "not_sure"
        not_sure = _probability(parse_json(metadata[part], f"the metadata's {part}", budget)) if part in metadata else None
        part = "commit"
        commit = _commit(metadata.get(part, ""))
        part = "figures"
        figures = _figures(parse_json(metadata[part], f"the metadata's {part}", budget) if part in metadata else [])
        part = "activation"
        activation = _text(metadata.get(part, usual_activation(classes)))
        card = Card(
            name, preprocessing, labels, layout, source, source_sha256, version, not_sure, activation=activation, commit=commit,
            figures=figures,
        )  # fmt: skip
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"the metadata's {part}", f"{quote(error.args[0])} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the metadata's {part}", str(error)) from None
    return config, card


def _whole_numbers(values: Any) -> list[int]:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise ValueError("a whole number is something else")
    if len(values) > len(PATCH_STRIDES) or not all(map(is_natural, values)):
        raise ValueError(f"{len(values)} numbers, or too large ones, where a VAN has at most {len(PATCH_STRIDES)} stages")
    return values


def _channels(values: Any, channels: int) -> list[float]:
    if not isinstance(values, list) or len(values) != channels or not all(isinstance(v, (int, float)) for v in values):
        raise ValueError(f"mean and std are {'three' if channels == COLOURS else channels} numbers each")
    return values


def _epsilon(value: Any) -> float:
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"an eps of {quote(value)}; it lies between 0 and 1")
    return value


def _probability(value: Any) -> float:
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"a probability of {quote(value)}; it lies between 0 and 1")
    return value


def _colour(values: Any) -> Colour:
    if not isinstance(values, list) or len(values) != 3 or not all(type(value) is int for value in values):
        raise ValueError("a colour is a list of three whole numbers")
    red, green, blue = values
    return red, green, blue


def _commit(text: str) -> str:
    if text and not is_commit(text):
        raise ValueError(f"{quote(text)}; it has 40 or 64 hex digits")
    return text


def _label(pair: Any) -> Label:
    return Label(*_pair(pair, "a label is a list of two texts: WordNet id and names"))


def _figures(values: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(values, list) or len(values) > MOST_FIGURES:
        raise ValueError(f"they are a list of at most {MOST_FIGURES} pairs of texts")
    pairs = (_pair(pair, "a figure is a list of two texts: what it is of, and itself") for pair in values)
    return tuple((what, words) for what, words in pairs)


def _pair(pair: Any, wanted: str) -> list[str]:
    if not (isinstance(pair, list) and len(pair) == 2):
        raise ValueError(wanted)
    return [_text(text) for text in pair]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_line(value):
        raise ValueError(f"{quote(value)} in the place of a text on one line")
    return value
