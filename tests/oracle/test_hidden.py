"""Faults in layers that a port does not show are named by what they make of the next layer that it shows."""

from pathlib import Path

import numpy as np
import pytest
from support.judge import F, torch, torch_ops
from support.planted import ACT, FC1, PIXELS, PLANTS, SCALED, SPATIAL, layer
from support.ports import CONFIG, PLANTED, TENSORS, as_port, numpy_layers, recorded_layers, reference, run

from minivan import paths, seeded
from minivan.oracle import changes, hidden, hints, trace
from minivan.oracle.baseline import Baseline
from minivan.oracle.hints import GIVEN_UP, NAMELESS, Effort
from minivan.oracle.work import Work
from minivan.van import VAN
from minivan.variants import VARIANTS, Config

STAGES = [*paths.norms(CONFIG.stages), paths.HEAD]
BLOCKS = [path for stage in paths.blocks(CONFIG.depths) for path in stage]
HIDDEN = (
    "missing bias", "missing dilation: 1 instead of 3", "the kernel is turned by 180 degrees",
    "wrong eps: 0.001 instead of 1e-05", "tanh GELU instead of erf", "missing inner residual", "missing layer_scale_1",
    "GELU after the gate",
)  # fmt: skip


LEAST = {None: 8, "float16": 5, "bfloat16": 3}  # of them that are named


def said_of(layers, shown):
    """Return the offenders among the layers that a port shows, and the hint."""
    judged = Baseline(reference(), lambda: (run, "")).judge(as_port({path: layers[path] for path in shown}))
    return [row.path for row in judged.report.offenders], judged.hint()


def after(path, shown):
    """The layer that tells of a fault at a hidden one."""
    order = list(reference().arrays)
    return next(other for other in order[order.index(path) :] if other in shown)


def test_a_fault_in_a_hidden_layer_is_named_with_its_layer():
    path, plant = PLANTS["missing bias"]
    said = f"in {path}, which the port does not show: missing bias"
    assert said_of(recorded_layers(**plant()), BLOCKS) == ([PLANTED], said)


@pytest.mark.once
@pytest.mark.parametrize(("shown", "form"), [(STAGES, None), (BLOCKS, None), (BLOCKS, "float16"), (BLOCKS, "bfloat16")])
def test_known_faults_in_hidden_layers_are_named_and_no_other_is(shown, form):
    named = 0
    for text in HIDDEN:
        path, plant = PLANTS[text]
        offenders, said = said_of(recorded_layers(form=form, **plant()), shown)
        assert offenders == [after(path, shown)] or (form and not offenders), (text, offenders)
        assert not said or any(path in one and text in one for one in said.split("; or ")), (text, said)
        # In 16 bits some are milder than a rounding, and in bfloat16 what rounding leaves may be too much for a name.
        assert said or (form and not offenders) or form == "bfloat16", text
        named += bool(said)
    assert named >= LEAST[form], named


def everywhere(path, array, layers):
    """SiLU in the place of every GELU."""
    if path.endswith((".activation", ".act")):
        return F.silu(torch.from_numpy(layers[list(layers)[-1]])).numpy()
    return None


def test_one_mistake_in_all_layers_of_a_kind_is_one_hint():
    offenders, said = said_of(recorded_layers(change=everywhere), STAGES)
    assert offenders == STAGES[:-1]
    names = "block1.0.attn.activation, block1.0.mlp.act"
    assert said == f"in 2 layers that the port does not show ({names}): SiLU instead of GELU"


def test_a_wrong_input_that_is_not_shown_either_is_named():
    offenders, said = said_of(numpy_layers(x=np.ascontiguousarray(PIXELS, np.float32)), STAGES)
    wrong = "what it was fed is not the trace's input: the pixels are not normalised: they run from 0 to 1"
    assert offenders == ["norm1"] and said == f"in patch_embed1.proj, which the port does not show: {wrong}"


NOISE = np.random.default_rng(3)
UNKNOWN = [
    (ACT, lambda a, layers: a * NOISE.normal(1, 0.3, a.shape)),
    (FC1, lambda a, layers: a + NOISE.normal(0, 0.2, a.shape)),
    (SPATIAL, lambda a, layers: NOISE.normal(size=a.shape)),
]


@pytest.mark.parametrize(("shown", "faults"), [(BLOCKS, UNKNOWN[:1]), pytest.param(STAGES, UNKNOWN, marks=pytest.mark.once)])
def test_an_unknown_fault_is_given_no_name(shown, faults):
    for path, change in faults:
        assert said_of(numpy_layers(**layer(path, change)), shown) == ([after(path, shown)], "")


def test_faults_that_give_the_same_numbers_are_both_named():
    """The last block's norm, folded into the convolution before it and applied again, is the norm applied to its own output."""
    norm = "patch_embed2.norm"
    twice = layer(norm, lambda a, layers: torch_ops.batch_norm(a, *(TENSORS[f"{norm}.{part}"] for part in PARTS), eps=1e-5))
    offenders, said = said_of(recorded_layers(**twice), BLOCKS)
    assert offenders == ["block2.0"]
    one, other = sorted(said.split("; or "))
    assert one.startswith("in patch_embed2.norm, ") and "applied to its own output" in one
    assert other.startswith("in patch_embed2.proj, ") and "patch_embed2.norm is folded into this layer's weights" in other


PARTS = ("running_mean", "running_var", "weight", "bias")


def test_a_search_that_may_cost_no_more_says_so(monkeypatch):
    _, plant = PLANTS["missing bias"]
    layers = recorded_layers(**plant())
    monkeypatch.setattr(hidden, "KEPT", 100)
    assert said_of(layers, BLOCKS) == ([PLANTED], hidden.TOO_WIDE)
    monkeypatch.undo()
    monkeypatch.setattr(hints, "Effort", lambda: Effort(work=Work(0)))
    assert said_of(layers, BLOCKS) == ([PLANTED], hidden.NOT_ALL.format(15))


def test_the_handbook_says_how_far_a_search_goes():
    text = " ".join((Path(__file__).parents[2] / "docs" / "oracle.md").read_text().split())
    assert hidden.SEARCHED == hidden.TOLD == 3 and "before the first three such layers" in text
    assert f"among at most {hidden.KEPT:,} numbers" in text


@pytest.mark.once
@pytest.mark.parametrize(("side", "said"), [(224, ""), (448, hidden.NOT_ALL.format(17))])
def test_the_work_suffices_for_a_hidden_block_of_b0_at_224_pixels(monkeypatch, side, said):
    tried = []
    monkeypatch.setattr(hidden.Stretch, "_error", lambda self, theirs, trial, inside, end: tried.append(trial) or np.inf)
    b0 = VARIANTS["b0"]
    config = Config(b0.dims[:1], (1,), b0.mlp_ratios[:1])
    tensors, x = seeded.tensors(config), seeded.images((1, 3, side, side))

    def network(engine, hook):
        VAN(config, tensors, engine).features(hook("input", x), hook)

    made = trace.record(VAN(config, tensors), x)
    wrong = made.arrays["block1.0"] * NOISE.normal(1, 0.3, made.arrays["block1.0"].shape).astype(np.float32)
    judged = Baseline(made, lambda: (network, "")).judge(as_port({"block1.0": wrong}))
    assert judged.hint() == said and len(tried) > 100


EACH = [path for path in paths.all_paths(CONFIG.depths) if path != SCALED]
UNSCALED = f"in {SCALED}, which the port does not show: missing layer_scale_1: attention's output is added unscaled"


def test_a_port_that_hides_one_sum_alone_is_searched_however_many_numbers_it_shows(monkeypatch):
    """The layers that are shown are read, not held: only the sum counts."""
    _, plant = PLANTS["missing layer_scale_1"]
    layers = recorded_layers(**plant())
    monkeypatch.setattr(hidden, "KEPT", layers[SCALED][0].size)
    assert said_of(layers, EACH) == ([f"{PLANTED}.norm2", PLANTED], UNSCALED)


def test_a_layer_amid_too_many_hidden_ones_is_looked_at_before_they_are_let_go(monkeypatch):
    _, plant = PLANTS["missing layer_scale_1"]
    layers = recorded_layers(**plant())
    monkeypatch.setattr(hidden, "KEPT", 11 * layers[SCALED][0].size)  # ten lie before it, and the next is twice as wide
    assert said_of(layers, [*BLOCKS, f"{PLANTED}.norm2"]) == ([f"{PLANTED}.norm2", PLANTED], UNSCALED)


def test_a_fault_in_the_second_image_alone_is_named():
    _, plant = PLANTS["missing layer_scale_1"]
    right, wrong = recorded_layers(), recorded_layers(**plant())
    layers = {path: np.stack([array[0], wrong[path][1]]) for path, array in right.items()}
    assert said_of(layers, EACH) == ([f"{PLANTED}.norm2", PLANTED], UNSCALED)


def test_more_faults_than_are_told_are_counted(monkeypatch):
    monkeypatch.setattr(changes, "EPSILONS", [1e-3 + i * 1e-11 for i in range(hidden.TOLD + 1)])
    path, plant = PLANTS["wrong eps: 0.001 instead of 1e-05"]
    offenders, said = said_of(recorded_layers(**plant()), BLOCKS)
    wrong = f"in {path}, which the port does not show: wrong eps: 0.001 instead of 1e-05"
    assert (offenders, said) == ([PLANTED], f"4 known faults give these numbers, among them: {'; or '.join([wrong] * 3)}")


def test_layers_before_which_none_was_searched_are_not_said_to_have_no_known_fault(monkeypatch):
    rng = np.random.default_rng(0)
    strange = {path: rng.normal(size=array.shape).astype(np.float32) for path, array in recorded_layers().items()}
    monkeypatch.setattr(hidden, "SEARCHED", 0)
    found = Baseline(reference(), lambda: (run, "")).judge(as_port({path: strange[path] for path in BLOCKS})).hints()
    assert len(BLOCKS) > NAMELESS and GIVEN_UP not in dict(found) and "" not in dict(found)
