"""Objects of other packages beside the weights: nothing of theirs is imported or called, and they hide no network."""

import argparse
import dataclasses
import enum
import random
import sys
import types
import typing
from collections import namedtuple

import numpy as np
import pytest
from support import saved
from support.judge import torch, torch_van
from support.watch import watching

from minivan.checkpoint import CheckpointError, facts, opened, read

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


class Phase(enum.Enum):
    TRAIN = "train"
    TEST = 2


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Settings:
    rate: float = 0.1
    phase: Phase = Phase.TRAIN
    inner: object = None


@dataclasses.dataclass(slots=True)
class Slotted:
    rate: float = 0.1


class Attributes(dict):
    """A dictionary with attributes, as configurations are."""


class Rows(list):
    pass


class Names(set):
    pass


class Loss:
    def __init__(self):
        self.weight, self.self = torch.ones(3), self

    def method(self):
        raise AssertionError("it was called")


class Callable:
    """What it is reduced to is called when it is unpickled."""

    def __reduce__(self):
        return rebuilt, (torch.ones(2), {"a": 1})


class State:
    """An object that holds weights among its attributes, as averages of weights are kept."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


def rebuilt(*args):
    raise AssertionError("it was called")


Pair = namedtuple("Pair", "a b")
THEIRS = (Phase, Flags, Settings, Slotted, Attributes, Rows, Names, Loss, Callable, State, Pair, rebuilt)


@pytest.fixture(
    params=["omegaconf.dictconfig", *(pytest.param(name, marks=pytest.mark.slow) for name in ("__main__", "engine.train"))]
)
def elsewhere(request, monkeypatch):
    """The classes above as those of a package that is there while the file is written, and not while it is read."""
    module = types.ModuleType(request.param)
    monkeypatch.setitem(sys.modules, request.param.partition(".")[0], module)
    for kind in THEIRS:
        monkeypatch.setattr(kind, "__module__", request.param)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, request.param, module)
    return request.param


def beside():
    attributes = Attributes(lr=0.1, layers=[1, 2], inner=Attributes(a=1))
    attributes.parent = attributes
    one = {
        "enums": [Phase.TRAIN, Phase.TEST, Flags.A, Flags.A | Flags.B],
        "dataclass": Settings(inner=Settings(inner=[Slotted()])),
        "dictionary": attributes, "list": Rows([1, [2], Rows()]), "set": Names("ab"), "tuple": Pair(1, Phase.TEST),
        "object": Loss(), "its method": Loss().method, "a class": Settings, "a function": rebuilt, "a call": Callable(),
        "args": argparse.Namespace(phase=Phase.TRAIN, cfg=Settings()),
        "types": [typing.Any, typing.Dict[str, typing.Any], dict],  # noqa: UP006
        "random": [np.random.RandomState(0), np.random.default_rng(1), random.Random(2), np.random.MT19937(3)],
    }  # fmt: skip
    return one


def check_passed_over(path, value, legacy, protocol):
    state = saved.state_dict(saved.SMALLEST)
    saved.save({"a": value, "state_dict": state, "z": value}, path, legacy, pickle_protocol=protocol)
    read(path)
    with watching() as seen:
        weights = read(path)
    assert not seen
    assert all(np.array_equal(weights.tensors[name], state[name].numpy()) for name in weights.tensors)


@FORMATS
@pytest.mark.parametrize("protocol", [2, *(pytest.param(other, marks=pytest.mark.slow) for other in (1, 4, 5))])
def test_objects_of_other_packages_are_passed_over(tmp_path, elsewhere, legacy, protocol):
    values = beside()
    for name in {1: ("random", "dataclass", "args"), 5: ("random",)}.get(
        protocol, ()
    ):  # that protocol has no way to write them
        del values[name]
    check_passed_over(tmp_path / "net.pth", values, legacy, protocol)


@pytest.mark.parametrize("name", beside())
def test_each_of_them_alone(tmp_path, name, elsewhere):
    check_passed_over(tmp_path / "net.pth", beside()[name], False, 4)


def test_what_was_passed_over_is_listed_and_strict_refuses_it(tmp_path, elsewhere):
    value = [Settings() for _ in range(3)] + [Phase.TRAIN]
    path = saved.save({"state_dict": saved.state_dict(), "config": value}, tmp_path / "net.pth")
    with opened(path) as checkpoint:
        assert f"3 objects of the class '{elsewhere}.Settings'" in checkpoint.passed_over
        assert f"1 object of the class '{elsewhere}.Phase'" in facts(checkpoint)["passed over"]
    with pytest.raises(CheckpointError, match=f"the file names '{elsewhere}.Settings': not on the list"):
        read(path, strict=True)


def test_of_many_classes_some_are_listed(tmp_path, monkeypatch):
    module = types.ModuleType("their.package")
    monkeypatch.setitem(sys.modules, "their", module)
    monkeypatch.setitem(sys.modules, "their.package", module)
    values = []
    for i in range(20):
        kind = type(f"Kind{i}", (), {"__module__": "their.package"})
        setattr(module, kind.__name__, kind)
        values.append(kind())
    with opened(saved.save({"state_dict": saved.state_dict(), "x": values}, tmp_path / "net.pth")) as checkpoint:
        assert len(checkpoint.passed_over) < 12 and "objects of 12 more classes" in checkpoint.passed_over


@FORMATS
@pytest.mark.slow
def test_what_pytorch_and_numpy_keep_beside_the_weights(tmp_path, legacy):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    parameter.grad = torch.ones(2)
    optimizer.step()
    rates = torch.optim.lr_scheduler
    beside = {
        "schedulers": [
            rates.OneCycleLR(optimizer, 0.1, total_steps=5).state_dict(), rates.CyclicLR(optimizer, 0.1, 1).state_dict(),
            rates.CosineAnnealingLR(optimizer, 5).state_dict(), rates.LambdaLR(optimizer, lambda epoch: 1.0).state_dict(),
        ],
        "loss": None if legacy else torch.nn.CrossEntropyLoss(weight=torch.ones(3)), "optimizer": optimizer,
        "whole schedulers": [rates.StepLR(optimizer, 2), rates.OneCycleLR(optimizer, 0.1, 9)],
        "scaler": torch.amp.GradScaler("cpu"),
    }  # fmt: skip
    for protocol in (2, 4):
        state = saved.state_dict(saved.SMALLEST)
        path = saved.save(beside | {"state_dict": state}, tmp_path / "net.pth", legacy, pickle_protocol=protocol)
        assert np.array_equal(read(path).tensors["head.bias"], state["head.bias"].numpy())


# where a stand-in is no help


def refusal(path, **options):
    with pytest.raises(CheckpointError) as raised:
        read(path, **options)
    return str(raised.value)


def test_a_network_in_an_object_is_named_and_needs_the_key(tmp_path, elsewhere):
    state, other = saved.state_dict(saved.SMALLEST), saved.state_dict(saved.SMALLEST, seed=1)
    for holder, label in (
        (State(module=state, decay=0.9), "ema.module"),
        (State(inner=State(shadow=state)), "ema.inner.shadow"),
        (Attributes(state), "ema"),
        (Rows([state]), "ema.0"),
        (Pair(1, state), "ema.1"),
    ):
        path = saved.save({"ema": holder}, tmp_path / "net.pth")
        assert f"the network lies in an object of the class '{elsewhere}.{type(holder).__name__}'" in refusal(path)
        assert f"--key {label}" in refusal(path)
        weights = read(path, key=label)
        assert np.array_equal(weights.tensors["head.bias"], state["head.bias"].numpy())
        assert any("in an object of the class" in note for note in weights.notes)
        path = saved.save({"ema": holder, "model": other}, tmp_path / "both.pth")
        assert np.array_equal(read(path).tensors["head.bias"], other["head.bias"].numpy())
        assert any("the file has 1 more" in note for note in read(path).notes)


def test_an_object_in_a_tensor_s_place_is_refused(tmp_path, elsewhere):
    for value in (Loss(), Callable(), Phase.TRAIN, Rows([1.0])):
        path = saved.save(saved.state_dict() | {"norm4.bias": value}, tmp_path / "net.pth")
        assert "norm4.bias is an object of the class" in refusal(path) and "save plain tensors" in refusal(path)


def test_a_tensor_of_another_package_s_class_is_not_read(tmp_path, monkeypatch):
    module = types.ModuleType("their.package")
    monkeypatch.setitem(sys.modules, "their", module)
    kind = type("Strange", (torch.Tensor,), {"__module__": "their.package"})
    module.Strange = kind
    monkeypatch.setitem(sys.modules, "their.package", module)
    state = saved.state_dict()
    state["norm4.bias"] = state["norm4.bias"].as_subclass(kind)
    path = saved.save(state, tmp_path / "net.pth")
    assert "norm4.bias" in refusal(path) and "it is of the class 'their.package.Strange'" in refusal(path)


def test_whole_models(tmp_path, elsewhere):
    net = torch_van.TorchVAN(saved.SMALLEST)
    for contents in (net, {"model": net}, {"model": net, "state_dict": net.state_dict()}):
        for legacy in (False, True):
            assert "a whole pickled model" in refusal(saved.save(contents, tmp_path / "net.pth", legacy))
            assert "save model.state_dict()" in refusal(tmp_path / "net.pth")


def test_a_whole_model_of_a_class_that_has_no_layers_of_pytorch_s(tmp_path, elsewhere):
    holder = State(_parameters={"weight": torch.ones(2)}, _modules={}, _buffers={}, training=True)
    path = saved.save({"model": holder}, tmp_path / "net.pth")
    assert f"a whole pickled model of the class '{elsewhere}.State'" in refusal(path)


# attacks


@pytest.mark.parametrize("name", ["pip main", "apport x", "__main__ system", "omegaconf OmegaConf.create", "Torch load"])
def test_a_call_of_another_package_s_name_gives_what_nobody_uses(attack, name):
    module, function = name.split()
    named = f"c{module}\n{function}\n".encode()
    call = named + saved.short("true") + b"\x85R"
    getter = b"cbuiltins\ngetattr\n" + call + saved.short("__class__") + b"\x86R"
    for made in (call, getter, named + b")\x81", named + b")}\x92", b"ccopyreg\n_reconstructor\n" + named + b"NN\x87R"):
        attack(b"\x80\x02" + made + b".", "the file holds an object of the class")
        attack(b"\x80\x02" + made + b")R.", "the file calls a StandIn")
        attack(b"\x80\x02}" + made + b"Ns.", "a dictionary's key is a StandIn")
    attack(b"\x80\x02" + named + b"}b.", "a state set on a Name")
    attack(b"\x80\x02" + named + b"Na.", "items appended to a Name")
    attack(b"\x80\x02" + named + b".", "the file holds an object of the class")


def test_names_of_python_2_and_of_old_pythons_are_refused(attack):
    for name in ("commands getoutput", "popen2 popen2", "urllib2 urlopen", "cPickle loads", "imp load_source", "asyncore loop",
                 "distutils.spawn spawn", "__builtin__ eval", "nt system", "pty spawn", "torch.hub load", "numpy.f2py compile",
                 "torch.serialization load", "torch.utils.cpp_extension load"):  # fmt: skip
        module, function = name.split()
        attack(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b")R.", repr(f"{module}.{function}"), "not on the list")


def test_a_stand_in_does_not_rebuild_tensors(attack):
    theirs = b"ctheirs\nrebuild\n"
    attack(b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(" + theirs + theirs + b")NtR.", "rebuilt by something that")
    attack(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + theirs + b")RK\x00))\x89NtR.", "whose storage is")
    storage = saved.short("storage") + theirs + saved.short("0") + saved.short("cpu")
    attack(b"\x80\x02(" + storage + b"K\x01tQ.", "a storage of the class 'theirs.rebuild'")


def test_stand_ins_in_themselves_and_in_one_another_without_end(file, tmp_path):
    state = saved.state_dict(saved.SMALLEST)
    records = saved.records(saved.save(state, tmp_path / "plain.pth"))
    name = next(name for name in records if name.endswith("data.pkl"))
    pickled = records[name].removeprefix(b"\x80\x02")
    make = b"ctheirs\nKind\nr\xff\xff\x0f\x000"
    get = b"j\xff\xff\x0f\x00"
    again = b"j\xfe\xff\x0f\x00"
    cycle = get + b")Rr\xfe\xff\x0f\x00}" + saved.short("self") + again + b"sb" + again + b"a"
    places = [(0x80000 + i).to_bytes(4, "little") for i in range(20_000)]
    deep = b"N" + b"".join(b"\x85r" + place + b"0" + get + b"j" + place + b"R" for place in places)
    for record in (cycle, deep):
        records[name] = b"\x80\x02" + make + b"}" + saved.short("x") + record + b"s0" + pickled
        file.write_bytes(saved.zip_of(records))
        with watching() as seen:
            assert read(file).config == saved.SMALLEST
        assert not seen
