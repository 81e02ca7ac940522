"""examples/training: a stopped training ends where it would have, the loss falls, and the file classifies."""

import importlib
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support import EXAMPLES

import minivan
from minivan import checkpoint, initial
from minivan.variants import Config

FOLDER = EXAMPLES / "training"
COLOURS = {"blue": (40, 60, 200), "green": (60, 180, 60), "red": (200, 50, 40)}
NETWORK = ["--dims", "8,12", "--depths", "1,1", "--size", "32", "--batch", "8", "--learning-rate", "0.01", "--average", "0.9"]


@pytest.fixture
def script(monkeypatch):
    """Import a module of the folder, as its scripts do. One thread: the networks are small."""
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module
    torch.set_num_threads(threads)
    for name in ("judging", "loop", "network", "photos", "scenes", "segmentation", "train"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Noise of three colours, sixteen photos each, one file that is none, and six others of each to judge by."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, count in (("learn", 16), ("judge", 6)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(random.normal(colour, 50, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i:02}.png")
    (root / "learn" / "red" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def test_first_weights_are_the_authors_by_pytorch_s_own_fans():
    from support import torch_van

    config = Config((24, 32), (1, 1), (4, 4), classes=40, channels=1)
    made = initial.tensors(config, 3)
    for name, module in torch_van.TorchVAN(config).named_modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            assert made[f"{name}.weight"].std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.25)
            assert not made[f"{name}.bias"].any()
    assert made["head.weight"].std() == pytest.approx(0.02, rel=0.15)
    assert (made["block1.0.layer_scale_1"] == np.float32(0.01)).all() and (made["norm1.weight"] == 1).all()
    assert (made["block2.0.norm1.running_var"] == 1).all() and not made["block2.0.norm1.running_mean"].any()
    assert made["head.weight"].tobytes() == initial.tensors(config, 3)["head.weight"].tobytes()
    assert made["head.weight"].tobytes() != initial.tensors(config, 4)["head.weight"].tobytes()


class Line(torch.utils.data.Dataset):
    """A target that is a line of x, and another order of magnitude in every epoch: what `at` is asked for shows."""

    def __init__(self, epoch=0):
        self.epoch = epoch

    def at(self, epoch):
        return Line(epoch)

    def __len__(self):
        return 12

    def __getitem__(self, i):
        x = np.float32(i + self.epoch / 10)
        return np.array([x, 1], np.float32), np.array([3 * x - 2], np.float32)


def weigh(ops, x, tensors, random):
    if random is not None:
        x = x + 0.01 * torch.randn(x.shape, generator=random)
    return ops.linear(x, tensors["weight"])


def test_a_stopped_training_ends_with_the_bits_it_would_have_had(script, tmp_path):
    loop = script("loop")
    recipe = loop.Recipe(epochs=6, batch=5, learning_rate=1.0, clip=100.0)
    begin, loss = {"weight": np.zeros((1, 2), np.float32)}, torch.nn.functional.mse_loss
    losses = []
    whole = loop.train(weigh, begin, Line(), loss, recipe, say=lambda epoch, loss, average: losses.append(loss))
    assert losses[-1] < losses[0] / 10

    heard, stops = [], [2, 5]

    def stop(epoch, loss, average):
        heard.append((epoch, loss))
        if epoch in stops:
            stops.remove(epoch)
            raise KeyboardInterrupt

    keep = tmp_path / "kept"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            loop.train(weigh, begin, Line(), loss, recipe, keep, stop)
    assert [epoch for epoch, _ in heard] == [1, 2, 2, 3, 4, 5] and heard[1] == heard[2]  # whoever was stopped hears it again
    again = loop.train(weigh, begin, Line(), loss, recipe, keep)
    assert again["weight"].tobytes() == whole["weight"].tobytes()
    with pytest.raises(ValueError, match=r"had learning_rate 1\.0, not 0\.2"):
        loop.train(weigh, begin, Line(), loss, loop.Recipe(epochs=6, batch=5, learning_rate=0.2, clip=100.0), keep)
    keep.write_bytes(keep.read_bytes()[:-100])
    with pytest.raises(ValueError, match="nothing that a training kept"):
        loop.train(weigh, begin, Line(), loss, recipe, keep)
    loop.train(weigh, begin, Line(), loss, recipe, keep := tmp_path / "other")
    with pytest.raises(ValueError, match="of another network"):
        loop.train(weigh, {"weight": np.zeros((2, 2), np.float32)}, Line(), loss, recipe, keep)


def test_a_loss_that_is_no_number_ends_the_training(script):
    loop = script("loop")
    begin = {"weight": np.full((1, 2), 1e30, np.float32)}
    with pytest.raises(ValueError, match="after 0 steps: a lower learning rate may help"):
        loop.train(weigh, begin, Line(), torch.nn.functional.mse_loss, loop.Recipe())


def test_left_out_branches_are_made_up_for(script):
    network = script("network")
    config = Config((4, 6), (2, 2), (2, 2), classes=3)
    forward = network.Classifier(config, 0.75)
    assert [*forward.left_out.values()] == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    tensors = {name: torch.from_numpy(tensor) for name, tensor in initial.tensors(config).items()}
    x, random = torch.ones(400, 3, 32, 32), torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():  # one block whose branches show in the logits, each adding 1 to every place
        if "layer_scale" in name:
            tensor.fill_(name == "block2.0.layer_scale_2")
    tensors["block2.0.mlp.fc2.weight"].zero_()
    tensors["block2.0.mlp.fc2.bias"].copy_(torch.arange(6.0))
    seen = []
    ops = network.Operators()
    ops.layer_norm = lambda x, **_: seen.append(x) or x
    forward(ops, x, tensors, None)
    forward(ops, x, tensors, random)
    (_, whole, _, some) = seen
    added = (some - whole)[:, 5, 0, 0] + 5  # 5 where it was left in by inference: 0, or 5 / (1 - p) in training
    assert set(np.round(added.tolist(), 3)) == {0.0, 10.0}
    assert abs((added == 0).float().mean().item() - 0.5) < 0.1


def test_branches_are_left_out_on_any_device(script):
    network = script("network")
    config = Config((4, 6), (1, 1), (2, 2), classes=3)
    tensors = {name: torch.from_numpy(tensor).to("meta") for name, tensor in initial.tensors(config).items()}
    x = torch.ones(2, 3, 32, 32, device="meta")
    logits = network.Classifier(config, 0.5)(network.Operators(), x, tensors, torch.Generator().manual_seed(0))
    assert logits.shape == (2, 3) and logits.device.type == "meta"


def run(script, photos, tmp_path, *options):
    """Train by the command line; return what it wrote."""
    script("train").main([str(photos / "learn"), "-o", str(tmp_path / "mine.safetensors"), *NETWORK, *options])
    return tmp_path / "mine.safetensors"


@pytest.mark.slow
def test_the_loss_falls_and_the_file_classifies(script, photos, tmp_path, capsys):
    options = ["--validation", str(photos / "judge"), "--epochs", "8", "--stochastic-depth", "0.1", "--workers", "1"]
    written = run(script, photos, tmp_path, *options)
    out, err = capsys.readouterr()
    losses = [float(found) for found in re.findall(r"loss ([\d.]+)", out)]
    assert len(losses) == 8 and losses[-1] < 0.7 * losses[0]
    assert "damaged.png: left out" in err
    assert out.startswith("48 photos of 3 classes, 18 to judge by; VAN (8, 12) x (1, 1)\n")
    assert list(tmp_path.iterdir()) == [written]
    classifier = minivan.Classifier(str(written))
    for name in COLOURS:
        answers = classifier(sorted((photos / "judge" / name).iterdir()))
        assert sum(answer.top[0].label == name for answer in answers) >= 5
    assert float(re.findall(r"top-1 ([\d.]+)%", out)[-1]) > 80


@pytest.mark.slow
def test_the_page_s_teacher_is_learned_from(script, photos, tmp_path, monkeypatch):
    teacher = run(script, photos, tmp_path, "--epochs", "5")
    teacher.rename(tmp_path / "teacher.safetensors")
    (tmp_path / "photos").symlink_to(photos / "learn")
    (photos / "learn" / "red" / "damaged.png").unlink()
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.S)
    exec(block, {})
    with np.load("soft.npz") as soft:
        assert soft["probabilities"].sum(axis=1) == pytest.approx(1)
        likeliest = [sorted(COLOURS)[i] for i in soft["probabilities"].argmax(1)]
        assert np.mean([path.split("/")[0] == name for path, name in zip(soft["paths"], likeliest, strict=True)]) > 0.7
        wrong = {"paths": soft["paths"], "probabilities": np.roll(soft["probabilities"], 1, axis=1)}
    np.savez("turned.npz", **wrong)
    written = run(
        script, photos, tmp_path, "--epochs", "5", "--soft-labels", "turned.npz", "--soft-share", "1", "--precision", "bfloat16"
    )
    answers = minivan.Classifier(str(written))(sorted((photos / "judge" / "blue").iterdir()))
    assert sum(answer.top[0].label == "green" for answer in answers) >= 5  # what this teacher calls them


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--validation", "{}/learn/red"], "no labelled images|no images in class folders"),
        (["--precision", "float8"], "the precision is float32 or bfloat16, not float8"),
        (["--size", "8"], "a whole number of pixels from 32"),
        (["--dims", "8"], "each with a dim, a depth and an MLP ratio"),
        (["--from", "nothing"], "nothing"),
        (["--soft-labels", "{}/soft.npz"], "names none of the photos"),
        (["--device", "cudda"], "cannot use the device cudda"),
        (["--stochastic-depth", "1"], "stochastic depth is a probability of at least 0, and below 1"),
        (["--epochs", "0"], "epochs is at least 1, not 0"),
        (["--learning-rate", "nan"], "the learning rate above 0"),
        (["--output", "{}/mine.pt"], "written as .safetensors"),
    ],
)
def test_what_cannot_be_done_is_one_line(script, photos, tmp_path, options, said):
    np.savez(photos / "soft.npz", paths=["a.png"], probabilities=np.full((1, 3), 1 / 3))
    train = script("train")
    with pytest.raises(SystemExit, match=said) as ended:
        train.main([str(photos / "learn"), "-o", str(tmp_path / "mine.safetensors"), *(o.format(photos) for o in options)])
    assert "\n" not in str(ended.value.code) and not list(tmp_path.iterdir())


def test_a_kept_training_is_of_its_photos_and_its_size(script, photos):
    train = script("train")

    def said(*options):
        args = train.parser().parse_args([str(photos / "judge"), "-o", "x.safetensors", *options])
        return train.subject(args, train.datasets(args)[0])

    first = said()
    assert first == said()
    assert len({first, said("--size", "32"), said("--from", "b0"), said("--validation", str(photos / "learn"))}) == 4


@pytest.mark.slow
def test_weights_are_gone_on_from_with_their_head_or_without(script, photos, tmp_path):
    first = run(script, photos, tmp_path, "--epochs", "1")
    before = checkpoint.read(first.rename(tmp_path / "first.safetensors"))
    train = script("train")
    labels = before.card.labels
    for chosen, same in ((labels, True), (labels[::-1], False)):
        argv = ["learn", "-o", "x.safetensors", "--from", str(tmp_path / "first.safetensors"), "--size", "64", "--seed", "5"]
        config, tensors, card = train.beginning(train.parser().parse_args(argv), chosen)
        assert config == before.config and card.preprocessing.crop == 64 and card.labels == chosen
        assert (tensors["head.weight"].tobytes() == before.tensors["head.weight"].tobytes()) == same
        assert tensors["patch_embed1.proj.weight"].tobytes() == before.tensors["patch_embed1.proj.weight"].tobytes()
