"""Every known trick with a pickle: nothing runs, nothing is imported, one line says what was found."""

import os
import pickle
import tracemalloc

import pytest
from support import saved
from support.judge import torch_van
from support.saved import Call
from support.watch import refused, watching

from minivan.checkpoint import CheckpointError, budget, read


@pytest.mark.parametrize("protocol", [2, 4])
def test_os_system_by_reduce(attack, tmp_path, protocol):
    marker = tmp_path / "it ran"
    payload = pickle.dumps({"state_dict": Call(os.system, f"touch '{marker}'")}, protocol)
    pickle.loads(payload)
    assert marker.exists(), "the payload works where pickle is used"
    marker.unlink()
    attack(payload, "the file names", f"{os.name}.system", "not on the list")
    assert not marker.exists()


def test_os_system_by_stack_global(attack):
    attack(b"\x80\x04" + saved.short("os") + saved.short("system") + b"\x93" + saved.short("true") + b"\x85R.", "'os.system'")


def test_stack_global_with_something_else_than_texts(attack):
    attack(b"\x80\x04K\x01K\x02\x93.", "1 and 2 in the place of")


def test_a_dotted_name_reaches_no_attribute(attack):
    name = saved.short("collections") + saved.short("OrderedDict.__class__.__base__") + b"\x93"
    attack(b"\x80\x04" + name + b")R.", "'collections.OrderedDict.__class__.__base__'")


def test_inst(attack):
    attack(b"(S'true'\nios\nsystem\n.", "opcode 'S'")
    attack(b"\x80\x02(" + saved.short("true") + b"ios\nsystem\n.", "opcode 'i'")


def test_obj(attack):
    attack(b"\x80\x02(cos\nsystem\n" + saved.short("true") + b"o.", "'os.system'")
    attack(b"\x80\x02(ccollections\nOrderedDict\no.", "opcode 'o'")


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval", "builtins exec", "builtins __import__", "builtins compile", "builtins open", "__builtin__ eval",
        "builtins breakpoint", "builtins input", "builtins type", "builtins globals", "builtins map", "builtins print",
    ],
)  # fmt: skip
def test_builtins_eval_and_its_like(attack, name):
    module, function = name.split()
    call = f"c{module}\n{function}\n".encode() + saved.short("__import__('os').system('true')") + b"\x85R."
    attack(b"\x80\x02" + call, repr(f"{module}.{function}"))


@pytest.mark.parametrize(
    "name",
    [
        "posix system", "nt system", "subprocess Popen", "subprocess check_output", "runpy _run_code", "pickle loads",
        "_pickle loads", "torch load", "torch.storage _load_from_bytes", "torch.hub load", "torch.jit load", "numpy load",
        "importlib import_module", "operator attrgetter", "functools partial", "types FunctionType", "types CodeType",
        "marshal loads", "socket socket", "webbrowser open", "shutil rmtree", "pathlib Path.unlink", "sys exit",
        "torch._dynamo.guards GuardBuilder.get", "torch.utils.collect_env run", "code interact", "bdb Bdb.run",
        "ctypes CDLL", "asyncio create_subprocess_shell", "logging.config listen", "timeit timeit", "pdb run",
    ],
)  # fmt: skip
def test_names_that_scanners_of_pickles_know(attack, name):
    module, function = name.split()
    attack(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b")R.", repr(f"{module}.{function}"))


def test_getattr(attack):
    for module in ("builtins", "__builtin__"):
        name = b"c" + module.encode() + b"\ngetattr\n"
        attack(b"\x80\x02" + name + b"ccollections\nOrderedDict\n" + saved.short("fromkeys") + b"\x86R.", "calls getattr")
        buffer = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
        attack(b"\x80\x02" + name + buffer + saved.short("__class__") + b"\x86R.", "calls getattr")


def test_new_object_of_a_class_not_listed(attack):
    attack(b"\x80\x02csubprocess\nPopen\n" + saved.short("true") + b"\x85\x81.", "'subprocess.Popen'")
    attack(b"\x80\x04" + saved.short("subprocess") + saved.short("Popen") + b"\x93)}\x92.", "'subprocess.Popen'")


def test_what_a_call_gave_cannot_be_called(attack):
    attack(b"\x80\x02cdatetime\ndate\n)R)R.", "the file calls an Inert")
    attack(b"\x80\x02cargparse\nNamespace\n)R)R.", "the file calls a StandIn")
    attack(b"\x80\x02" + saved.short("os.system") + b")R.", "the file calls 'os.system'")
    attack(b"\x80\x02})R.", "the file calls a dict")


def test_build_on_a_class(attack):
    attack(b"\x80\x02ccollections\nOrderedDict\n}" + saved.short("__init__") + b"Nsb.", "a state set on a Name")
    attack(b"\x80\x02" + saved.short("text") + b"}b.", "a state set on 'text'")


def test_a_setstate_in_the_file_is_not_called(file, tmp_path):
    """BUILD with a state that names `__setstate__` and more: it is let go, and the checkpoint around it is read."""
    state = saved.state_dict(saved.SMALLEST)
    record = b"cargparse\nNamespace\n)\x81}(" + saved.short("__setstate__") + saved.short("os.system") + b"ub"
    records = saved.records(saved.save(state, tmp_path / "plain.pth"))
    name = next(name for name in records if name.endswith("data.pkl"))
    records[name] = b"\x80\x02}" + saved.short("x") + record + b"s0" + records[name].removeprefix(b"\x80\x02")
    file.write_bytes(saved.zip_of(records))
    with watching() as seen:
        assert read(file).config == saved.SMALLEST
    assert not seen


def test_a_whole_pickled_module(file, tmp_path):
    saved.save(torch_van.TorchVAN(saved.SMALLEST), file)
    refused(file, file.read_bytes(), "a whole pickled model", "save model.state_dict()")
    persistent = b"(" + saved.short("module") + b"ccollections\nOrderedDict\n" + saved.short("a.py") + saved.short("") + b"tQ."
    refused(file, saved.around(b"\x80\x02" + persistent), "a whole pickled model", "save model.state_dict()")


def test_extension_opcodes_buffers_and_text_persistent_ids(attack):
    for code, name in ((b"\x82\x01", "x82"), (b"\x83\x01\x00", "x83"), (b"\x84\x01\x00\x00\x00", "x84"), (b"\x97", "x97"),
                       (b"\x98", "x98"), (b"Pid\n", "P"), (b"S'a'\n", "S"), (b"Va\n", "V"), (b"F1.0\n", "F"),
                       (b"\x96" + bytes(8), "x96"), (b"g0\n", "g"), (b"p0\n", "p"), (b"\xff", "xff")):  # fmt: skip
        attack(b"\x80\x04" + code + b".", "opcode", name)


def test_a_protocol_to_come(attack):
    attack(b"\x80\x06N.", "pickle protocol 6")


# memory and time


def test_memo_tricks(attack):
    attack(b"\x80\x02h\x00.", "memo entry 0 is read before it is written")
    attack(b"\x80\x02Nq\x00Nq\x00.", "memo entry 0 is written twice")
    attack(b"\x80\x02Nr\xff\xff\xff\xff.", "memo entry 4294967295", "the limit")
    attack(b"\x80\x02q\x00.", "empty stack")
    attack(b"\x80\x02(q\x00.", "empty stack")


def test_a_mark_is_no_value(attack):
    for tail in (b"(2.", b"(R.", b"()R.", b"(.", b"(K\x01s.", b"((\x85.", b"}(K\x01u.", b"t.", b"(0u.", b"K\x01u."):
        attack(b"\x80\x02" + tail)


def test_billion_laughs(attack):
    attack(b"\x80\x02)" + b"2\x86" * 150 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + saved.short("lol") + b"2\x86" * 98 + b".", "the file holds a tuple")  # 2^98 texts if written out
    deep = saved.short("lol") + b"2\x86" * 98
    attack(b"\x80\x02}" + deep + b"Ns.", "a dictionary's key is a tuple")
    for rebuilt in (b"K\x00" + deep + deep, deep + b"))"):
        attack(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N" + rebuilt + b"tR.")


def test_lists_and_calls_nested_without_end(attack):
    attack(b"\x80\x02" + b"]" * 101 + b"a" * 100 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".", "nested more than 100 deep")
    attack(b"\x80\x02" + b"(" * 20_000 + b"t" * 20_000 + b".", "nested more than 100 deep")


def test_a_list_in_itself(attack):
    attack(b"\x80\x02]q\x00h\x00a.", "it may lie in itself")
    attack(b"\x80\x02}q\x00" + saved.short("state_dict") + b"h\x00s.", "it may lie in itself")


def test_containers_that_are_nested_first_and_filled_afterwards(attack):
    for new, into in ((b"]", b"a"), (b"}", b"s")):
        key = b"N" if new == b"}" else b""
        unit = b"".join(new + b"q" + bytes([i]) + b"0" for i in range(200))
        unit += b"".join(b"h" + bytes([i]) + key + b"h" + bytes([i + 1]) + into + b"0" for i in range(199))
        attack(b"\x80\x02" + unit + b"h\x00.", "a container that lies in another one goes deeper")


def test_texts_and_integers_that_claim_to_be_huge(attack):
    for code in (b"X\xff\xff\xff\xff", b"B\xff\xff\xff\x7f", b"\x8d" + b"\xff" * 8, b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"):
        attack(b"\x80\x04" + code + b"a.", "a text of")
    attack(b"\x80\x02X\xff\xff\x00\x00a.", "the data ends")
    attack(b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", "an integer of")
    attack(b"\x80\x02\x8a\xff\x01.", "the data ends")
    attack(b"\x80\x02L" + b"9" * 100_000 + b"L\n.", "a name without an end")
    attack(b"\x80\x02c" + b"a" * 100_000 + b"\nb\n.", "a name without an end")
    attack(b"\x80\x02\x95\xff\xff\xff\xff\xff\xff\xff\xff.")


def peak_while_refused(file, pickled, words):
    file.write_bytes(saved.around(pickled))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words):
            read(file)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_objects_from_few_bytes(file, monkeypatch):
    """What objects take is counted as they are made, so a smaller limit shows that the real one holds."""
    monkeypatch.setattr(budget, "MOST_MEMORY", 1 << 20)
    words = "the file's objects need too much memory: the limit for one of its size is 1 MiB"
    size = b"ctorch\nSize\nq\x01"
    for pickled in (
        b"]" * 25_000,
        b"}" * 25_000,
        (saved.integer(1 << 62) + b"0") * 70_000,
        b"N" + b"\x94" * 250_000,
        saved.short("a" * 200) * 12_500,
        b"(" + b"N" * 10_000 + b"lq\x00" + size + b"h\x01h\x00\x85R" * 75,  # a copy of a list by every call
        b"cargparse\nNamespace\nq\x00" + b"h\x00)\x81" * 25_000,
        b"}" + b"".join(b"(" + saved.integer(i) + b"Nu" for i in range(40_000)),
    ):
        assert peak_while_refused(file, b"\x80\x04" + pickled + b".", words) < 5 << 20, pickled[:12]


def test_keys_that_collide(attack):
    attack(b"\x80\x02}" + saved.integer(1 << 63) + b"Ns.", "a dictionary's key is 9223372036854775808")
    attack(b"\x80\x02}G?\xf0\x00\x00\x00\x00\x00\x00Ns.", "a dictionary's key is 1.0")
    attack(b"\x80\x02}]Ns.", "a dictionary's key is a list")


def test_too_many_arguments(attack):
    attack(b"\x80\x02ccollections\nOrderedDict\n(" + b"N" * 65 + b"tR.", "up to 64 arguments")
