"""Answers to lesson 5, a block and a stage."""

from minivan import summary, variants
from minivan.geometry import CONV0, CONV_SPATIAL, DWCONV


def exercise_1():
    """Each stage divides both sides: by 4, then by 2 three times."""
    height, width, shapes = 256 * 2, 320 * 2, []
    for channels in (32, 64, 160, 256):
        height, width = height // 2, width // 2
        if not shapes:
            height, width = height // 4, width // 4
        shapes.append((channels, height, width))
    return shapes


def exercise_2():
    """Attention, MLP, two BatchNorms, two layer scales."""
    C, hidden = 32, 8 * 32
    attention = 3 * (C * C + C) + (C * CONV0.taps + C) + (C * CONV_SPATIAL.taps + C)  # proj_1, conv1, proj_2; then LKA's two
    mlp = (C * hidden + hidden) + (DWCONV.taps * hidden + hidden) + (hidden * C + C)  # fc1, dwconv, fc2
    return attention + mlp + 2 * 2 * C + 2 * C


def exercise_3():
    """b3 has 8.9 G against b0's 0.864 G."""
    cost = {name: summary.totals(summary.summarise(config))[1] for name, config in variants.VARIANTS.items()}
    return next(name for name in cost if cost[name] > 10 * cost["b0"])
