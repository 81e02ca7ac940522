"""Answers to lesson 4, the gate."""

import math

from minivan import lka

U, A = (1, 2, -1), (0.5, -1, 3)


def exercise_1():
    """Products, place by place; a sigmoid keeps every sign of u and makes nothing larger."""
    gated = [u * a for u, a in zip(U, A, strict=True)]
    squeezed = [u / (1 + math.exp(-a)) for u, a in zip(U, A, strict=True)]
    return gated, squeezed


def exercise_2():
    """4 N C^2 + 2 N^2 C > 441 N C^2 from N > 437 C / 2 = 13,984 positions on, so from the side 119."""
    per_position = lka.dense_parameters(64, 21)
    return next(n for n in range(1, 999) if lka.self_attention_multiply_adds(64, n * n) > per_position * n * n)


def exercise_3():
    """Each gate squares the factor: 2, 4, 16, 256."""
    factor = 2
    for _ in range(3):
        factor = factor * factor
    return factor
