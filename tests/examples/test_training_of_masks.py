"""examples/training/segmentation.py: scenes and their masks stay together, void counts for nothing, the command's file."""

import dataclasses
import importlib
import re
import sys
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support import EXAMPLES

from minivan import checkpoint, fpn, initial
from minivan.card import SCENES, Card, Preprocessing
from minivan.van import VAN
from minivan.variants import Config

FOLDER = EXAMPLES / "training"
COLOURS = np.array([(60, 90, 220), (120, 120, 120), (40, 170, 60)], np.uint8)  # of the classes sky, road, tree
BACKBONE = Config((4, 6, 8, 10), (1, 1, 1, 1), (2, 2, 2, 2), classes=3)
MODULES = ("judging", "loop", "network", "photos", "scenes", "segmentation")


@pytest.fixture
def script(monkeypatch):
    """Import a module of the folder, as its scripts do. One thread: the networks are small."""
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module
    torch.set_num_threads(threads)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six scenes to learn from, two to choose by, two to judge: sky over road, a tree somewhere, and a rim that is void."""
    root, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2), ("test", 2)):
        (root / part).mkdir()
        for i in range(count):
            mask, horizon, left = np.zeros((48, 70), np.uint8), random.integers(15, 25), random.integers(5, 40)
            mask[horizon:] = 1
            mask[horizon - 8 : horizon + 8, left : left + 20] = 2
            photo = COLOURS[mask]
            mask[:, :2] = 200
            Image.fromarray(photo).save(root / part / f"{i}.jpg", quality=95, subsampling=0)
            Image.fromarray(mask).save(root / part / f"{i}.png")
    return root


def test_a_view_shows_a_photo_and_its_mask_at_the_same_place(script, root):
    scenes = script("scenes")
    (found, *others) = scenes.scenes(root, "train")
    assert len(others) == 5 and found.name == "train/0.jpg" and found.size == (70, 48)
    frame, seen = (64, 96), set()
    for seed in range(12):
        view = scenes.varied(found.size, 96, frame, np.random.default_rng(seed))
        seen.add((view.mirrored, view.size))
        x = view.photo(found, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)), scenes.padded(frame))
        target = view.target(found, 3, scenes.padded(frame))
        assert x.shape == (3, 96, 64) and target.shape == (48, 32) and set(np.unique(target)) <= {0, 1, 2, scenes.VOID}
        width, height = view.size
        assert not x[:, height:].any() and not x[:, :, width:].any() and (target[-(-height // 2) :] == scenes.VOID).all()
        halved = x.reshape(3, 48, 2, 32, 2).mean((2, 4))
        hue = halved[:, None] - np.moveaxis(COLOURS / np.float32(255), 1, 0)[:, :, None, None] * np.mean(view.light)
        nearest = (hue**2).sum(0).argmin(0)  # light changes little of which class's colour a place is likest
        judged = target != scenes.VOID
        assert judged.any() and (nearest == target)[judged].mean() > 0.85
    assert len({mirrored for mirrored, _ in seen}) == 2 and len({size for _, size in seen}) > 3
    whole = scenes.whole(found.size, 96)
    assert whole.size == (140, 96) and (whole.target(found, 3, (160, 96))[:, :2] == scenes.VOID).all()


def test_scenes_are_found_in_folders_and_archives_or_refused(script, root, tmp_path):
    scenes = script("scenes").scenes
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for path in sorted((root / "val").iterdir()):
            folder = "masks" if path.suffix == ".png" else "images"
            archive.write(path, f"val/{folder}/{path.name}")
    (first, _), (same, _) = scenes(root, "val"), scenes(tmp_path / "scenes.zip", "val")
    assert (first.photo, first.mask) == (same.photo, same.mask)
    bad = tmp_path / "bad" / "val"
    bad.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no scenes in val/: photos NAME\.jpg are wanted"):
        scenes(tmp_path / "bad", "val")
    (bad / "a.jpg").write_bytes(first.photo)
    with pytest.raises(ValueError, match=r"val/a\.jpg has no mask: val/a\.png or"):
        scenes(tmp_path / "bad", "val")
    for mask, said in (
        (Image.new("RGB", (70, 48)), "the mask of val/a.jpg is RGB: grey or a palette's numbers"),
        (Image.new("L", (70, 47)), "has 70 x 48 pixels, its mask 70 x 47"),
    ):
        mask.save(bad / "a.png")
        with pytest.raises(ValueError, match=said):
            scenes(tmp_path / "bad", "val")
    (bad / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"a\.jpg or its mask cannot be read"):
        scenes(tmp_path / "bad", "val")


def test_the_loss_is_the_mean_over_pixels_that_are_not_void(script):
    network = script("network")
    random = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 3, 4, 5, generator=random), torch.randint(0, 4, (2, 8, 10), generator=random)
    targets[targets == 3] = 255
    scaled = F.interpolate(logits, scale_factor=2, mode="bilinear")
    for weights in (None, [1.0, 2.0, 0.5]):
        expected = F.cross_entropy(scaled, targets, weights and torch.tensor(weights), ignore_index=255)
        assert network.PixelCrossEntropy(255, weights)(logits, targets).item() == pytest.approx(expected.item(), rel=1e-5)
        nothing = network.PixelCrossEntropy(255, weights)(logits.requires_grad_(), torch.full_like(targets, 255))
        assert nothing.item() == 0  # a batch without a pixel to learn from, and not NaN


def test_whole_channels_are_left_out_and_made_up_for(script):
    network = script("network")
    config = fpn.FPNConfig((4, 6, 8, 10), 4, 5, 2)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in initial.fpn_tensors(config).items()}
    maps = [torch.ones(50, dim, 8 >> i, 8 >> i, dtype=torch.float16) for i, dim in enumerate(config.dims)]
    forward, ops, sums = network.Segmenter(config, 0.5), network.Operators(), []
    convolve = ops.conv2d
    ops.conv2d = lambda x, **given: sums.append(x) or convolve(x, **given)
    forward(ops, maps, tensors, None)
    whole = sums[-1]
    forward(ops, maps, tensors, torch.Generator().manual_seed(0))
    left = (sums[-1] / whole).nanmean((2, 3))
    assert set(left[whole.abs().amin((2, 3)) > 0].unique().tolist()) == {0.0, 2.0}


def test_first_weights_of_a_pyramid_are_mmsegmentation_s(script):
    config = fpn.FPNConfig((64, 128, 160, 256), 128, 96, 30)
    made = initial.fpn_tensors(config, 1)
    assert {name: tensor.shape for name, tensor in made.items()} == dict(fpn.parameter_shapes(config))
    smoothing = "neck.fpn_convs.0.conv.weight"
    lateral, smooth = made["neck.lateral_convs.3.conv.weight"], made[smoothing]
    for weight, fans in ((lateral, 256 + 128), (smooth, 9 * (128 + 128))):  # Xavier: uniform
        assert weight.std() == pytest.approx((2 / fans) ** 0.5, rel=0.02)
        assert np.abs(weight).max() <= (6 / fans) ** 0.5
    assert made["decode_head.scale_heads.3.0.conv.weight"].std() == pytest.approx((2 / (9 * 96)) ** 0.5, rel=0.02)  # fan-out
    assert made["decode_head.conv_seg.weight"].std() == pytest.approx(0.01, rel=0.1)
    assert (made["decode_head.scale_heads.0.0.bn.running_var"] == 1).all()
    assert smooth.tobytes() != initial.fpn_tensors(config, 2)[smoothing].tobytes()


def test_a_variance_beyond_float16_changes_nothing(script):
    network = script("network")
    config = fpn.FPNConfig((4, 6, 8, 10), 4, 5, 2)
    tensors = initial.fpn_tensors(config)
    assert all(kept.tobytes() == tensors[name].astype(np.float16).tobytes() for name, kept in network.narrowed(tensors).items())
    grown = {name: tensor * np.float32(100) if name.startswith("neck") else tensor for name, tensor in tensors.items()}
    ops, forward, random = network.Operators(training=True), network.Segmenter(config), torch.Generator().manual_seed(0)
    maps = [300 * torch.randn(2, dim, 16 >> i, 16 >> i, generator=random) for i, dim in enumerate(config.dims)]
    held = {name: torch.from_numpy(tensor.copy()) for name, tensor in grown.items()}
    for _ in range(60):
        forward(ops, maps, held, None)  # the running statistics are gathered
    gathered = {name: tensor.numpy() for name, tensor in held.items()}
    assert max(tensor.max() for name, tensor in gathered.items() if "running_var" in name) > 1e6
    expected = forward(network.Operators(), maps, held, None)
    narrow = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in network.narrowed(gathered).items()}
    off = (forward(network.Operators(), maps, narrow, None) - expected).abs().max()
    assert off < 8 * np.finfo(np.float16).eps * expected.abs().max()  # as much as rounding alone does


def test_class_weights_are_medians_by_frequencies(script, root):
    segmentation, scenes = script("segmentation"), script("scenes").scenes(root, "train")
    masks = [np.asarray(scene.classes(4)) for scene in scenes]
    shares = [np.mean([mask == index for mask in masks]) for index in range(3)]
    expected = np.median(shares) / shares  # each class is in each scene; there is no fourth
    assert segmentation.class_weights(scenes, 4, "median") == pytest.approx([*expected, 0], rel=1e-6)
    assert segmentation.class_weights(scenes, 4, "root") == pytest.approx([*expected**0.5, 0], rel=1e-6)
    assert segmentation.class_weights(scenes, 4, "none") is None


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A small VAN of random weights, as a file."""
    path = tmp_path_factory.mktemp("backbone") / "backbone.safetensors"
    checkpoint.write(checkpoint.Weights(BACKBONE, initial.tensors(BACKBONE), Card("small", SCENES)), path)
    return path


def test_maps_are_kept_in_float16_and_read_again(script, root, backbone, tmp_path):
    import minivan

    scenes, judging = script("scenes"), script("judging")
    model = minivan.load(backbone, engine="numpy")
    assert isinstance(model, VAN)
    seen = judging.Seen(scenes.scenes(root, "val"), model, 64, SCENES)
    assert seen.sizes == [(96, 64)] * 2
    path = tmp_path / "maps.npy"
    assert scenes.Stored.at(path, BACKBONE.dims, seen.sizes) is None
    scenes.Stored.computed(path, model, seen.sizes, (seen.input(i) for i in range(2)))
    again = scenes.Stored.at(path, BACKBONE.dims, seen.sizes)
    for kept, computed in zip(again[1], seen[1], strict=True):
        assert kept.dtype == np.float16 and kept.tobytes() == computed.astype(np.float16).tobytes()
    assert scenes.Stored.at(path, BACKBONE.dims, seen.sizes[:1]) is None  # of other scenes


def test_a_crop_is_the_same_part_of_all_maps_and_of_the_target(script, root, tmp_path):
    scenes = script("scenes")
    views = scenes.Views(scenes.scenes(root, "train"), 3, 160, (224, 160), 2, crop=96)
    maps = [
        np.indices((160 // (4 << k), 224 // (4 << k)))[:, None].astype(np.float16) * (4 << k) for k in range(4)
    ]  # in pixels
    numbers = np.concatenate([np.stack([each.reshape(2, *each.shape[2:])]).ravel() for each in maps] * 12)
    np.save(tmp_path / "maps.npy", numbers)
    whole = dataclasses.replace(views, crop=None, stored=scenes.Stored.at(tmp_path / "maps.npy", (2, 2, 2, 2), views.sizes))
    cropped = dataclasses.replace(whole, crop=96)
    begun = set()
    for epoch in range(4):
        (seen, target), (_, everything) = cropped.at(epoch)[3], whole.at(epoch)[3]
        assert [each.shape for each in seen] == [(2, 24 >> k, 24 >> k) for k in range(4)] and target.shape == (48, 48)
        corners = {tuple(each[:, 0, 0].tolist()) for each in seen}
        assert len(corners) == 1
        top, left = (int(start) // 2 for start in corners.pop())
        assert (target == everything[top : top + 48, left : left + 48]).all()
        begun.add((top, left))
    assert len(begun) > 1
    assert (cropped.at(1)[3][1] == cropped.at(1)[3][1]).all()


def run(script, root, backbone, output, *options):
    argv = [str(root), "-o", str(output), "--weights", str(backbone), "--classes", "sky,road,tree", "--side", "64"]
    small = ["--channels", "8", "--head-channels", "8", "--views", "2", "--batch", "3", "--average", "0.8", "--engine", "numpy"]
    script("segmentation").main([*argv, *small, "--learning-rate", "0.02", *options])
    return output


@pytest.mark.slow
def test_the_command_learns_and_a_stopped_one_ends_with_the_same_bits(script, root, backbone, tmp_path, capsys, monkeypatch):
    whole = run(script, root, backbone, tmp_path / "mine.safetensors", "--epochs", "10", "--test", "test")
    out = capsys.readouterr().out
    losses = [float(found) for found in re.findall(r"loss ([\d.]+)", out)]
    assert len(losses) == 10 and losses[-1] < 0.7 * losses[0]
    assert out.startswith("6 scenes of 3 classes to learn from, 2 to choose by\n")
    assert "IoU by class, test: sky " in out and list(tmp_path.iterdir()) == [whole]
    expected = whole.read_bytes()
    whole.unlink()
    judging, calls = script("judging"), []
    judge = judging.Judge.__call__

    def stopped(*given):
        calls.append(given)
        if len(calls) in (3, 6):
            raise KeyboardInterrupt
        return judge(*given)

    monkeypatch.setattr(judging.Judge, "__call__", stopped)
    for _ in range(2):
        with pytest.raises(SystemExit, match="130"):
            run(script, root, backbone, whole, "--epochs", "10", "--test", "test")
    with pytest.raises(SystemExit, match=r"that training had subject 6 scenes .* in 2 views .*, not"):
        run(script, root, backbone, whole, "--epochs", "10", "--class-weights", "median")
    assert run(script, root, backbone, whole, "--epochs", "10", "--test", "test").read_bytes() == expected
    assert list(tmp_path.iterdir()) == [whole]
