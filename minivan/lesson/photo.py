"""The lesson's last chapter: one number of a real photo followed through the first block's attention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from minivan import image, lka, reference
from minivan.van import VAN

from .pictures import columns, framed, grey, paragraph, signed, table

BLOCK = "block1.0.attn"
UNIT = f"{BLOCK}.spatial_gating_unit"
D = 3  # VAN's own dilation, whatever the rest of the lesson was asked for


def example() -> Path:
    """Return the path of the photo that comes with minivan: beside the bundled weights, or a checkout's examples."""
    package = Path(__file__).parent.parent
    inside = package / "bundled" / "coffee.jpg"
    return inside if inside.exists() else package.parent / "examples" / "coffee.jpg"


def walk(model: VAN, path: str | Path) -> dict:
    """Run a photo through the network and recompute one number of its first attention by hand.

    Returns plain values for `--json` and, under 'maps', the arrays that `chapter` draws. Raises as minivan.image.decode.
    """
    preprocessing = model.card.preprocessing
    seen = image.view(image.decode(path), preprocessing)
    x = image.normalise(seen, preprocessing.mean, preprocessing.std)[None]
    kept, signs, last = {}, [], None

    def keep(name, array):
        if name.startswith(BLOCK):
            kept[name] = array[0].astype(np.float64)
        if name.endswith("spatial_gating_unit.conv1"):
            signs.append(array.ravel())
            nonlocal last
            last = array.shape[2:]

    probabilities = reference.softmax(model(x, hook=keep).astype(np.float64))[0]
    u, attention = kept[f"{BLOCK}.activation"], kept[f"{UNIT}.conv1"]
    channel = most_divided(attention)
    place = np.unravel_index(abs(attention[channel]).argmax(), attention.shape[1:])
    steps = by_hand(model.tensors, u, channel, place)
    network = {name: kept[f"{UNIT}.{name}"][channel][place] for name in ("conv0", "conv_spatial", "conv1")}
    network |= {"gated": kept[UNIT][channel][place]}
    open_gates = reference.softmax(model(x, hook=hold_gates_open).astype(np.float64))[0]
    every = np.concatenate(signs)
    return {
        "image": Path(path).name,
        "weights": model.card.name,
        "classes": len(probabilities),
        "input": list(x.shape[2:]),
        "map": list(attention.shape[1:]),
        "channels": len(u),
        "channel": channel,
        "row": int(place[0]),
        "column": int(place[1]),
        "by_hand": steps,
        "network": {name: float(value) for name, value in network.items()},
        "furthest_apart": float(max(abs(network[name] - steps[name]) for name in network)),
        "lowest": float(attention.min()),
        "highest": float(attention.max()),
        "negative_share": float((every < 0).mean()),
        "above_one_share": float((abs(every) > 1).mean()),
        "attention_values": int(every.size),
        "blocks": len(signs),
        "stages": model.config.stages,
        "last_map": list(last),
        "last_taps": int(lka.taps_on_map(7, D, last[0]).max() * lka.taps_on_map(7, D, last[1]).max()),
        "attention_map": attention[channel].tolist(),
        "answer": best(model, probabilities),
        "answer_with_open_gates": best(model, open_gates),
        "answer_then": float(open_gates[probabilities.argmax()]),
        "maps": {"seen": seen, "attention": attention[channel], "u": u[channel]},
    }


def by_hand(tensors: dict, u: np.ndarray, channel: int, place) -> dict:
    """Recompute the first block's attention at one place of one channel, weight by weight in float64."""

    def weight(name):
        return tensors[f"{UNIT}.{name}.weight"].astype(np.float64)

    def bias(name):
        return tensors[f"{UNIT}.{name}.bias"].astype(np.float64)

    near = lka.depthwise(u, weight("conv0")) + bias("conv0")[:, None, None]
    far = lka.depthwise(near, weight("conv_spatial"), D) + bias("conv_spatial")[:, None, None]
    attention = float(weight("conv1")[channel, :, 0, 0] @ far[:, place[0], place[1]] + bias("conv1")[channel])
    H, W = u.shape[1:]
    return {
        "u": float(u[channel][place]),
        "near_terms": _terms(u[channel], weight("conv0")[channel, 0], place, 1),
        "near_on_map": int(lka.taps_on_map(5, 1, H)[place[0]] * lka.taps_on_map(5, 1, W)[place[1]]),
        "far_on_map": int(lka.taps_on_map(7, D, H)[place[0]] * lka.taps_on_map(7, D, W)[place[1]]),
        "near_bias": float(bias("conv0")[channel]),
        "conv0": float(near[channel][place]),
        "conv_spatial": float(far[channel][place]),
        "conv1": attention,
        "gated": float(u[channel][place] * attention),
    }


def _terms(values, kernel, place, dilation):
    """Return the products of one output, the tap's row and column first, largest magnitude first: the taps on the map."""
    offsets = lka.tap_offsets(len(kernel), dilation)
    terms = [
        (int(r), int(c), float(values[place[0] + r, place[1] + c]), float(kernel[i, j]))
        for i, r in enumerate(offsets)
        for j, c in enumerate(offsets)
        if 0 <= place[0] + r < values.shape[0] and 0 <= place[1] + c < values.shape[1]
    ]
    return sorted(terms, key=lambda term: -abs(term[2] * term[3]))


def most_divided(attention: np.ndarray) -> int:
    """Return the channel of (C, H, W) that lifts some places and turns others over: both signs, both large."""
    lifted, turned = (np.maximum(sign * attention, 0).mean(axis=(1, 2)) for sign in (1, -1))
    return int(np.minimum(lifted, turned).argmax())


def hold_gates_open(name: str, array: np.ndarray) -> np.ndarray | None:
    """A hook that makes every attention value 1, so that each gate passes what came in."""
    return np.ones_like(array) if name.endswith("spatial_gating_unit.conv1") else None


def best(model: VAN, probabilities: np.ndarray) -> dict:
    """Return the class with the highest probability: its name and the probability."""
    index = int(probabilities.argmax())
    return {"label": model.card.label(index).short, "probability": float(probabilities[index])}


def chapter(w: dict) -> Iterator[str]:
    """Yield the chapter's lines from what `walk` returned."""
    H, W = w["map"]
    hand, net = w["by_hand"], w["network"]
    yield from paragraph(
        f"""Now {w["image"]}, through a network that was really trained ({w["weights"]}): it tells {w["classes"]} kinds of
        things apart, its *classes*. It has {w["blocks"]} *blocks*, each one LKA with pointwise layers around it and always
        K = 21 and d = {D}, in {w["stages"]} *stages*, each with smaller maps than the last. The photo goes in at
        {w["input"][0]} x {w["input"][1]}; the first layer makes a map of {H} x {W} positions with {w["channels"]}
        channels. On the left the photo at that size. On the right channel {w["channel"]} of the first block's attention:
        '#' far above zero, '+' above, blank near zero, '-' below, '=' far below."""
    )
    yield ""
    light = np.asarray(w["maps"]["seen"].convert("L").resize((W, H), Image.Resampling.BOX)) / 255
    scale = abs(w["maps"]["attention"]).max()
    for line in columns(framed(grey(light, 34)), framed(signed(w["maps"]["attention"], scale, 34))):
        yield "  " + line
    yield ""
    yield from paragraph(
        f"""Follow the attention value furthest from zero: row {w["row"]}, column {w["column"]}, counted from 0. Step 1 adds
        {hand["near_on_map"]} products (of 25; the others fall on the padding), here the largest first, and one more learned
        number that every convolution adds to its sums, the *bias*:"""
    )
    yield ""
    shown = hand["near_terms"][:4]
    rest = hand["near_terms"][4:]
    for r, c, value, weight in shown:
        where = f"row {w['row'] + r}, column {w['column'] + c}"
        yield f"  {where:<18}  {value:+9.5f} x weight {weight:+.5f} = {value * weight:+.5f}"
    yield f"  {f'the other {len(rest)}':<18}  {'':<27} = {sum(v * k for _, _, v, k in rest):+.5f}"
    yield f"  {'and the bias':<18}  {'':<27} = {hand['near_bias']:+.5f}"
    yield ""
    yield from paragraph("And so on through all the steps, computed by hand on the left, as the network had it on the right:")
    yield ""
    names = {
        "conv0": "step 1, near",
        "conv_spatial": f"step 2, far ({hand['far_on_map']} of 49 on the map)",
        "conv1": f"step 3, {w['channels']} channels mixed: the attention",
        "gated": f"the gate: {hand['u']:+.5f} x {hand['conv1']:+.5f}",
    }
    rows = [[text.ljust(46), f"{hand[name]:+.5f}", f"{net[name]:+.5f}"] for name, text in names.items()]
    yield from table(["", "by hand", "network"], rows)
    yield ""
    yield from paragraph(
        f"""They are at most {w["furthest_apart"]:.0e} apart, rounding. In this block attention runs from {w["lowest"]:.2f} to
        {w["highest"]:+.2f}; of all {w["attention_values"]:,} attention values of the {w["blocks"]} blocks
        {100 * w["negative_share"]:.0f} % are negative, and {100 * w["above_one_share"]:.0f} % lie further than 1 from zero.
        No sigmoid and no softmax could have said that."""
    )
    yield ""
    yield from paragraph(
        f"""And one thing hardly anyone expects: maps shrink from stage to stage, the kernels do not. In the last blocks the map
        is {w["last_map"][0]} x {w["last_map"][1]}, and of the 49 weights of step 2 at most {w["last_taps"]} can meet it; the
        others multiply padding. The large kernel earns its keep on large maps."""
    )
    yield ""
    answer, opened = w["answer"], w["answer_with_open_gates"]
    changed = answer["label"] != opened["label"]
    left = f"leaves {answer['label']} {w['answer_then']:.3f}"
    then = f"answers {opened['label']} instead, at {opened['probability']:.3f}, and {left}"
    yield from paragraph(
        f"""Does the gate matter? The network's answer is {answer["label"]}, with probability {answer["probability"]:.3f}; the
        probabilities of all classes add up to 1. With
        every attention value replaced by 1, so that the gates stand open and the large kernels have no say, it
        {then if changed else f"stays with it, at {opened['probability']:.3f}"}."""
    )
