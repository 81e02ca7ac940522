"""Where a training script may put a network: behind any names, beside anything, more than once; and which one is read."""

from collections import OrderedDict

import pytest
from support import saved
from support.judge import safetensors_torch, torch

from minivan.checkpoint import CheckpointError, facts, load, opened, read
from minivan.checkpoint.budget import Budget
from minivan.checkpoint.holdings import Holding, contents_of
from minivan.checkpoint.tensor import StoredTensor

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
GUESSED = "dims (2,) and depths 1 are no published variant's: if blocks are missing from the file, it is another network"
NO_HEAD = "there is no head: it gives features, not classes"


def small(seed=0):
    return saved.state_dict(saved.SMALLEST, seed)


def within(state, wrapper, *modules):
    """Put a wrapper's name after each module that is named, as `block1.0._orig_mod.norm1.weight`."""
    changed = OrderedDict()
    for name, tensor in state.items():
        for module in modules:
            if name.startswith(f"{module}."):
                name = f"{module}.{wrapper}.{name[len(module) + 1 :]}"
        changed[name] = tensor
    return changed


def blocks(state):
    return sorted({".".join(name.split(".")[:2]) for name in state if name.startswith("block")})


def refusal(path, **options):
    with pytest.raises(CheckpointError) as raised:
        read(path, **options)
    message = str(raised.value).removeprefix(str(path))
    assert "\n" not in message and len(message) < 1100
    return message


# what stands before the names, and inside them

PREFIXES = [
    "module.", "_orig_mod.", "_fsdp_wrapped_module.", "_forward_module.", "_checkpoint_wrapped_module.", "model.", "net.",
    "student.", "backbone.", "encoder.", "base_model.model.", "0.", "model.0.", "module.model.net.", "_forward_module.model.",
    "models.van_b0.", "a.b.c.d.e.f.g.h.i.j.", "model.block1.", "head.", "weird name.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("layout", ["authors", "huggingface", "openmmlab"])
def test_any_prefix(tmp_path, prefix, layout):
    state = small()
    named = {"authors": lambda s: s, "huggingface": saved.huggingface, "openmmlab": saved.openmmlab}[layout](state)
    weights = read(saved.save({"state_dict": saved.prefixed(prefix, named)}, tmp_path / "net.pth"))
    saved.assert_same(weights, state)
    assert weights.card.layout == layout and weights.notes == (GUESSED,)


INSIDE = {
    "every block compiled": lambda state: within(state, "_orig_mod", *blocks(state)),
    "activation checkpoints": lambda state: within(state, "_checkpoint_wrapped_module", *blocks(state)),
    "FSDP, block by block": lambda state: saved.prefixed(
        "_fsdp_wrapped_module.", within(state, "_fsdp_wrapped_module", *blocks(state))
    ),
    "one block": lambda state: within(state, "module", blocks(state)[0]),
    "the attentions": lambda state: within(state, "_orig_mod", *(f"{block}.attn" for block in blocks(state))),
    "compiled, then DataParallel": lambda state: saved.prefixed(
        "module._orig_mod.", within(state, "_orig_mod", *blocks(state))
    ),
    "a layer that is wrapped": lambda state: within(state, "_orig_mod", "patch_embed1.proj", "norm1", "head"),
}


@pytest.mark.parametrize("wrap", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("container", ["zip", "safetensors"])
def test_wrappers_inside_a_key(tmp_path, wrap, container):
    state, path = small(), tmp_path / "net"
    if container == "zip":
        saved.save(wrap(state), path)
    else:
        safetensors_torch.save_file({name: tensor.clone() for name, tensor in wrap(state).items()}, path)
    saved.assert_same(read(path), state)


def test_a_key_as_long_as_a_key_may_be_is_looked_through(tmp_path):
    state = small()
    prefix = "module." * 200 + "x." * 600
    saved.assert_same(read(saved.save(saved.prefixed(prefix, state), tmp_path / "net.pth")), state)


# what lies beside it

BESIDE = {
    "counters of thop": (
        lambda: {
            "total_ops": torch.zeros(1),
            "block1.0.total_ops": torch.zeros(1),
            "block1.0.attn.total_params": torch.zeros(1),
        },
        (),
    ),
    "torch's AveragedModel": (lambda: {"n_averaged": torch.tensor(3)}, ()),
    "a loss": (lambda: {"criterion.pos_weight": torch.ones(5)}, ("'criterion' (1 tensor)",)),
    "a loss as a tensor": (lambda: {"loss": torch.tensor(0.5)}, ("'loss' (1 tensor)",)),
    "metrics": (
        lambda: {"train_acc.tp": torch.ones(5), "val_metrics.f1.fn": torch.ones(5), "val_metrics.f1.tp": torch.ones(5)},
        ("'val_metrics' (2 tensors)", "'train_acc' (1 tensor)"),
    ),
    "numbers": (lambda: {"epoch": 3, "best": 71.5, "name": "a"}, ()),
    "mmcv's averages": (lambda: {"ema_block1_0_norm1_weight": torch.ones(4)}, ("'ema_...' (1 tensor)",)),
}


@pytest.mark.parametrize(("beside", "passed"), BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_lies_beside_a_network_in_its_dictionary(tmp_path, beside, passed, prefix):
    state = small()
    weights = read(saved.save(saved.prefixed(prefix, state) | beside(), tmp_path / "net.pth"))
    saved.assert_same(weights, state)
    notes = [note for note in weights.notes if note.startswith("passed over")]
    assert len(notes) == bool(passed) and all(words in notes[0] for words in passed)


def test_what_is_not_known_under_the_network_s_own_prefix_is_an_error(tmp_path):
    for prefix in ("", "model.", "module.", "student."):
        for name in ("cbam.conv.weight", "block1.0.attn.gate", "norm5.weight", "block1.0.extra.norm1.weight", "alpha"):
            state = saved.prefixed(prefix, small() | {name: torch.ones(4)})
            assert f"'{prefix}{name}' (4,) is unknown" in refusal(saved.save(state, tmp_path / "net.pth"))


@pytest.mark.parametrize("layout", ["authors", "openmmlab"])
def test_the_backbone_of_a_segmentation_network_gives_features(tmp_path, layout):
    state = saved.without_head(small())
    named = saved.prefixed("backbone.", state) if layout == "authors" else saved.openmmlab(state)
    others = {name: torch.ones(3) for name in ("decode_head.conv_seg.weight", "decode_head.norm1.weight", "neck.0.bias")}
    weights = read(saved.save({"meta": {}, "state_dict": named | others}, tmp_path / "net.pth"))
    saved.assert_same(weights, state)
    assert weights.config.classes == 0
    assert "passed over, as no part of the network: 'decode_head' (2 tensors), 'neck' (1 tensor)" in weights.notes
    assert NO_HEAD in weights.notes and weights.config.layer_norm_eps == 1e-5


def test_averaged_weights_that_cannot_be_told_are_named(tmp_path):
    """LitEma of latent diffusion leaves the dots out of names."""
    state, averaged = small(), small(seed=1)
    dotless = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in averaged.items()}
    path = saved.save({"state_dict": saved.prefixed("model.", state) | dotless}, tmp_path / "net.ckpt")
    saved.assert_same(read(path), state)
    assert any("averaged weights lie under 'model_ema', with names that are not known" in note for note in read(path).notes)


def test_other_dictionaries_of_tensors_are_listed(tmp_path):
    state = small()
    optimizer = {"state": {i: {"exp_avg": torch.ones(2), "step": torch.tensor(1.0)} for i in range(3)}}
    path = saved.save({"model_state_dict": state, "optimizer": optimizer, "loss": torch.tensor(0.3)}, tmp_path / "net.pt")
    saved.assert_same(read(path), state)
    with opened(path) as checkpoint:
        assert checkpoint.label == "model_state_dict"
        assert "'optimizer': 6 tensors" in checkpoint.passed_over
        rows = facts(checkpoint)
    assert rows["layout"] == "authors, under model_state_dict" and "'optimizer': 6 tensors" in rows["passed over"]


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {"a": {"b": {"c": state}}},
        lambda state: {"checkpoints": [{"epoch": 1}, {"weights": state}]},
        lambda state: [state],
        lambda state: (3, {"net": state}),
        lambda state: {"optimizer": {"state": {"exp_avg": state, "exp_avg_sq": state}}, "net": state},
    ],
    ids=["dictionaries", "a list", "a list alone", "a tuple", "averages of an optimizer"],
)
def test_dictionaries_in_one_another(tmp_path, nest):
    state = small()
    saved.assert_same(read(saved.save(nest(state), tmp_path / "net.pth")), state)


def test_moments_of_an_optimizer_by_name_are_no_network(tmp_path):
    state, moments = small(), small(seed=1)
    path = saved.save({"optim": {"exp_avg": moments}, "network": state}, tmp_path / "net.pth")
    saved.assert_same(read(path), state)
    saved.assert_same(read(path, key="optim.exp_avg"), moments)


# several networks


def two(tmp_path, first, second, **more):
    plain, other = small(seed=0), small(seed=1)
    return saved.save({first: plain, second: other} | more, tmp_path / "net.pth"), plain, other


@pytest.mark.parametrize(
    "key",
    ["ema", "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "model_ema_state_dict", "swa_model", "averaged_model",
     "params_ema", "modelEMA", "ema_weights", "polyak", "ewa", "emas"],
)  # fmt: skip
def test_averaged_weights_come_before_others_and_it_is_said(tmp_path, key):
    check_averaged(tmp_path, key, "")


@pytest.mark.parametrize("inner", ["module", "ema_model.module", "state.shadow"])
def test_averaged_weights_deeper_in_a_dictionary(tmp_path, inner):
    check_averaged(tmp_path, "ema", inner)


def check_averaged(tmp_path, key, inner):
    plain, averaged = small(seed=0), small(seed=1)
    value = averaged
    for name in reversed(inner.split(".") if inner else []):
        value = {name: value}
    path = saved.save({"model": plain, key: value}, tmp_path / "net.pth")
    label = f"{key}.{inner}".rstrip(".")
    weights = read(path)
    saved.assert_same(weights, averaged)
    assert f"'{label}' was read, the averaged weights; 'model' has others" in weights.notes
    saved.assert_same(read(path, key="model"), plain)
    saved.assert_same(read(path, key=key), averaged)
    saved.assert_same(read(path, key=label), averaged)


def test_averaged_weights_as_prefixes_of_one_dictionary(tmp_path):
    plain, averaged = small(seed=0), small(seed=1)
    state = saved.prefixed("model.", plain) | saved.prefixed("ema_model.module.", averaged)
    path = saved.save({"state_dict": state | {"ema_model.n_averaged": torch.tensor(3)}}, tmp_path / "net.ckpt")
    weights = read(path)
    saved.assert_same(weights, averaged)
    assert "'state_dict.ema_model' was read, the averaged weights; 'state_dict.model' has others" in weights.notes
    saved.assert_same(read(path, key="state_dict.model"), plain)


@pytest.mark.parametrize("mark", [{"message_hub": {}}, {"meta": {"mmengine_version": "0.10.4"}}], ids=["hub", "version"])
def test_mmengine_keeps_the_average_in_state_dict(tmp_path, mark):
    averaged, raw = saved.openmmlab(small(seed=1)), saved.openmmlab(small(seed=0))
    ema = saved.prefixed("module.", raw) | {"steps": torch.tensor(3)}
    path = saved.save(mark | {"state_dict": averaged, "ema_state_dict": ema}, tmp_path / "net.pth")
    weights = read(path)
    saved.assert_same(weights, small(seed=1))
    said = "'state_dict' was read, the averaged weights (MMEngine keeps them there); 'ema_state_dict' has others"
    assert said in weights.notes
    saved.assert_same(read(path, key="ema_state_dict"), small(seed=0))


def test_elsewhere_ema_state_dict_is_the_average(tmp_path):
    path, _, averaged = two(tmp_path, "state_dict", "ema_state_dict", meta={})
    saved.assert_same(read(path), averaged)


def test_lightning_keeps_the_average_in_state_dict(tmp_path):
    path, averaged, _ = two(tmp_path, "state_dict", "current_model_state", averaging_state={"n_averaged": torch.tensor(2)})
    weights = read(path)
    saved.assert_same(weights, averaged)
    assert any("(Lightning keeps them there); 'current_model_state' has others" in note for note in weights.notes)


def test_an_optimal_model_is_no_optimizer(tmp_path):
    path, _, _ = two(tmp_path, "optimal_model", "model")
    assert "2 networks: 'optimal_model'" in refusal(path)
    path, _, model = two(tmp_path, "optimG", "model")
    saved.assert_same(read(path), model)


def test_of_student_and_teacher_none_is_guessed(tmp_path):
    path, student, teacher = two(tmp_path, "student", "teacher")
    shape = "VAN (2,) x (1,), 3 classes"
    assert refusal(path) == f": 2 networks: 'student' ({shape}), 'teacher' ({shape}): say which one is meant with --key NAME"
    saved.assert_same(read(path, key="student"), student)
    saved.assert_same(read(path, key="teacher"), teacher)
    assert "'teacher' was read, as asked" in load(path, "numpy", key="teacher").card.notes
    assert refusal(path, key="elsewhere") == ": no network under 'elsewhere': there are 2: 'student', 'teacher'"


def test_members_of_an_ensemble(tmp_path):
    members = [small(seed=i) for i in range(3)]
    joined = OrderedDict()
    for i, member in enumerate(members):
        joined |= saved.prefixed(f"models.{i}.", member)
    for contents in ({"models": members}, joined):
        path = saved.save(contents, tmp_path / "net.pth")
        assert "3 networks: 'models.0' (VAN" in refusal(path)
        for i, member in enumerate(members):
            saved.assert_same(read(path, key=f"models.{i}"), member)


def test_a_network_within_another_s_names(tmp_path):
    """At the top and behind `teacher.`: neither is the other's stranger."""
    top, teacher = small(seed=0), small(seed=1)
    path = saved.save(top | saved.prefixed("teacher.", teacher), tmp_path / "net.pth")
    assert "2 networks: '.' (VAN" in refusal(path)
    saved.assert_same(read(path, key="."), top)
    saved.assert_same(read(path, key="teacher"), teacher)


def test_an_average_of_three_is_no_choice(tmp_path):
    states = {name: small(seed=i) for i, name in enumerate(("student", "teacher", "ema"))}
    assert "3 networks" in refusal(saved.save(states, tmp_path / "net.pth"))


def test_an_average_of_parameters_has_the_other_network_s_statistics(tmp_path):
    plain, averaged = small(seed=0), small(seed=1)
    learned = {name: tensor for name, tensor in averaged.items() if "running" not in name and "num_batches" not in name}
    for ema in (learned, {"shadow": learned, "decay": 0.99}):
        weights = read(saved.save({"model": plain, "ema": ema}, tmp_path / "net.pth"))
        saved.assert_same(weights, plain | learned)
        assert "it has parameters alone, BatchNorm's statistics are those of 'model'" in " ".join(weights.notes)
        saved.assert_same(read(tmp_path / "net.pth", key="ema"), plain | learned)


def test_an_average_without_all_tensors_is_refused_and_the_other_is_named(tmp_path):
    plain, averaged = small(seed=0), small(seed=1)
    learned = {name: tensor for name, tensor in averaged.items() if not name.endswith("running_var")}
    message = refusal(saved.save({"model": plain, "ema": learned}, tmp_path / "net.pth"))
    assert "under 'ema'; other networks: 'model'" in message and "running_var (2,) is missing" in message


def test_a_backbone_is_read_alone_where_key_says_so(tmp_path):
    state = small()
    for named, key in ((saved.openmmlab(state), "backbone"), (saved.huggingface(state), "van")):
        weights = read(saved.save({"state_dict": named}, tmp_path / "net.pth"), key=f"state_dict.{key}")
        saved.assert_same(weights, saved.without_head(state))


def test_minivan_s_own_file_takes_no_key(tmp_path):
    from minivan.checkpoint import write

    write(read(saved.save(small(), tmp_path / "net.pth")), tmp_path / "own.safetensors")
    assert "minivan's own file holds one network: leave out --key" in refusal(tmp_path / "own.safetensors", key="a")
    assert read(tmp_path / "own.safetensors").notes == ()


def test_places_are_not_compared_by_what_they_hold():
    towers = []
    for _ in range(2):
        tower = []
        for _ in range(60):
            tower = [tower, tower]
        towers.append(Holding((), {"a": tower}))
    assert towers[0] != towers[1]


def test_long_keys_above_many_lists_are_paid_for():
    value = {"a": [[StoredTensor((1,), "float32", None)] for _ in range(1000)]}
    contents_of(value, Budget(10_000))
    for _ in range(6):
        value = {"aA" * 2000: value}
    with pytest.raises(CheckpointError, match="too many steps"):
        contents_of(value, Budget(10_000))
