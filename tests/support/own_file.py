"""A small network's weights, with all on their card that a file of minivan's own keeps."""

from dataclasses import replace

from minivan.card import Card, Label, Preprocessing
from minivan.checkpoint import Weights
from support import saved
from support.networks import random_tensors

LABELS = tuple(Label(f"n{i}", f"größe {i}, other") for i in range(5))
PREPROCESSING = Preprocessing(64, 70, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
CARD = Card("net", PREPROCESSING, LABELS, "openmmlab", "https://example.org/net.pth", "ab" * 32)
CONFIG = replace(saved.SMALL, layer_norm_eps=1e-5, batch_norm_eps=1e-3)


def own_weights():
    return Weights(CONFIG, random_tensors(CONFIG), CARD)
