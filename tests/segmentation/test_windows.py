"""Large photos in windows, and from logits to a mask: against brute force, and what is held meanwhile."""

import itertools
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from support.judge import F, torch
from support.scenes import photo

from minivan.card import Preprocessing
from minivan.segmentation import windows
from minivan.segmentation.windows import bands, paint, scaled_size, starts

pytestmark = pytest.mark.loop

PLAIN = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))
SIZES = [(200, 90), (90, 200), (130, 130), (64, 64), (300, 33), (1, 77), (77, 1)]  # width, height


def colours(x):
    """A network of three classes that sees 4 x 4 pixels: their mean red, green and blue."""
    n, c, height, width = x.shape
    assert height % 32 == width % 32 == 0 and x.dtype == np.float32
    return x.reshape(n, c, height // 4, 4, width // 4, 4).mean(axis=(3, 5))


def neighbours(x):
    """One that sees the places beside each, too, and zeros beyond the edge of what it is given."""
    y = colours(x)
    around = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return y + around[:, :, :-2, 1:-1] + around[:, :, 2:, 1:-1] + around[:, :, 1:-1, :-2] + around[:, :, 1:-1, 2:]


def mask_of(network, picture, size=None):
    width, height = size or picture.size
    mask = np.full((height, width), 255, np.uint8)
    paint(mask, (picture.height, picture.width), bands(network, picture, PLAIN))
    return mask


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 64)
    monkeypatch.setattr(windows, "OVERLAP", 32)


def brute(logits, scaled, size):
    """Each pixel's logits from the four around its middle, in float64: the definition (align_corners=False)."""
    places = []
    for whole, part, most in zip(size, scaled, logits.shape[1:], strict=True):
        place = np.clip((np.arange(whole) + 0.5) * part / whole / 4 - 0.5, 0, most - 1)
        low = np.floor(place).astype(int)
        places.append((low, np.minimum(low + 1, most - 1), place - low))
    (y0, y1, v), (x0, x1, u) = places
    rows = logits[:, y0].astype(float) * (1 - v)[:, None] + logits[:, y1].astype(float) * v[:, None]
    return rows[:, :, x0] * (1 - u) + rows[:, :, x1] * u


@pytest.mark.parametrize("scaled", [(60, 90), (90, 61), (33, 32), (1, 50), (50, 1), (3, 3)])
@pytest.mark.parametrize("size", [(60, 90), (121, 77), (7, 300), (1, 40), (40, 1)])
def test_a_mask_is_the_likeliest_class_between_logits(scaled, size, monkeypatch):
    """In chunks of few pixels; where two classes are as likely but for rounding, either may stand."""
    monkeypatch.setattr(windows, "STRIP", 256)
    random = np.random.default_rng(1)
    logits = random.normal(size=(5, *(-(-side // 4) for side in scaled))).astype(np.float32)
    logits[1] += 1.5 * (random.random(logits.shape[1:]) < 0.5)
    turned = logits if scaled[0] >= scaled[1] else logits.transpose(0, 2, 1)
    cuts = np.array_split(turned, 3, axis=1) if turned.shape[1] > 3 else [turned]
    mask = np.full(size, 255, np.uint8)
    paint(mask, scaled, iter(cuts))
    exact = brute(logits, scaled, size)
    chosen = np.take_along_axis(exact, mask[None].astype(int), axis=0)[0]
    assert (chosen >= exact.max(axis=0) - 1e-5).all() and len(np.unique(mask)) > (min(scaled) > 3)


def test_it_is_what_pytorch_makes_of_the_logits():
    logits = np.random.default_rng(2).normal(size=(1, 6, 24, 40)).astype(np.float32)
    with torch.no_grad():
        wanted = F.interpolate(torch.from_numpy(logits), (203, 317), mode="bilinear", align_corners=False).argmax(1)[0].numpy()
    mask = np.empty((203, 317), np.uint8)
    paint(mask, (96, 160), iter([logits[0].transpose(0, 2, 1)]))
    assert (mask == wanted).mean() > 0.9999


@pytest.mark.parametrize("size", SIZES)
def test_windows_give_the_whole_photos_mask(size, small_windows, monkeypatch):
    """Exactly for a network that sees no further than a logit; else but for a logit beside an edge that lies in the photo."""
    picture = photo(*size)
    found, near = mask_of(colours, picture), mask_of(neighbours, picture)
    monkeypatch.setattr(windows, "WINDOW", 1024)
    assert np.array_equal(found, mask_of(colours, picture))
    for y, x in zip(*np.nonzero(near != mask_of(neighbours, picture)), strict=True):
        edges = [start + end for start in starts(320, 64, 32) for end in (0, 64)]
        assert min(abs(place - edge) for place in (y, x) for edge in edges) <= 8


def test_where_one_window_is_enough_its_logits_are_the_networks_own():
    picture = photo(50, 70)
    (band,) = bands(lambda x: neighbours(x) * np.float32(1.1), picture, PLAIN)
    x = np.zeros((1, 3, 96, 64), np.float32)
    x[0, :, :70, :50] = np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255)
    assert band.tobytes() == (neighbours(x) * np.float32(1.1))[0, :, :18, :13].tobytes()


def test_windows_cover_all_and_end_with_the_photo():
    for length in range(32, 700, 32):
        places = starts(length, 96, 32)
        assert places[0] == 0 and places[-1] + 96 == max(96, length)
        assert all(0 < after - before <= 64 for before, after in itertools.pairwise(places))


def test_what_is_held_does_not_grow_with_the_longer_side(small_windows, monkeypatch):
    monkeypatch.setattr(windows, "STRIP", 1 << 12)
    peaks, sizes = [], set()

    def network(x):
        sizes.add(x.shape)
        return np.concatenate([colours(x)] * 4, axis=1)

    for width in (1024, 4096):
        picture, mask = Image.new("RGB", (width, 128)), np.zeros((128, width), np.uint8)
        tracemalloc.start()
        paint(mask, (128, width), bands(network, picture, PLAIN))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes == {(1, 3, 64, 64)}
    assert peaks[1] < 1.05 * peaks[0] + 50_000  # indices of one side alone; all logits together would be 1.6 MB more
    assert peaks[1] < 64 * 12 * 128 + 450_000  # 1 KiB for a window of 1,024 pixels; a window, and what is worked on at once


def test_logits_that_are_no_numbers_are_damage():
    with pytest.raises(ValueError, match="they are damaged"):
        mask_of(lambda x: colours(x) * np.float32("nan"), photo(40, 40))


def test_the_shorter_side_is_scaled_and_what_is_narrow_is_not_enlarged_without_end():
    assert scaled_size(480, 360, 180) == (240, 180) and scaled_size(360, 480, 720) == (720, 960)
    assert scaled_size(481, 360, None) == (481, 360)
    assert scaled_size(8000, 1000, 500) == (4000, 500)  # a panorama
    width, height = scaled_size(1, 500, 100)
    assert height / width == pytest.approx(500, rel=0.2) and width * height == pytest.approx(8 * 100**2, rel=0.2)
    assert scaled_size(10**6, 1, 32) == (10**6, 1)
