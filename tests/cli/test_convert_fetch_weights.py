"""convert, weights and fetch as a user types them."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from support import ROOT, saved
from support.judge import torch
from support.loopback import OFFICIAL_SHA256

from minivan.card import Preprocessing
from minivan.checkpoint import facts, file_sha256, find, here, hub, read

FILES = ROOT / "tests" / "checkpoints"
BUNDLED = hub.bundled()[0]
GUESSED = (
    "note: dims (8, 16, 24, 32) and depths 1 1 2 1 are no published variant's: "
    "if blocks are missing from the file, it is another network\n"
)
NAMED = "note: args names the model 'van_tiny', and its shape is not VAN-B0's: the tensors' own was taken\n"
UNNAMED = "note: these weights have no class names: classes go by their numbers (convert --labels FILE names them)\n"
UNSIZED = "note: these weights do not say their input size: 224 x 224 pixels are taken (another: convert --crop)\n"
SOURCES = ["official.pth.tar", "official_legacy.pth.tar", "huggingface", "huggingface/pytorch_model.bin", "mmpretrain.pth"]


# convert


@pytest.mark.parametrize("source", SOURCES)
def test_convert_takes_every_layout_and_format(run, tmp_path, source):
    out = tmp_path / "net.safetensors"
    status, said, errors = run("convert", FILES / source, out)
    named = NAMED if source.startswith("official") else ""
    guessed = "" if source.startswith("huggingface") else named + GUESSED
    assert status == 0 and errors == guessed + ("" if "mm" in source else UNNAMED) + UNSIZED
    assert said.splitlines() == [
        f"{out}: VAN (8, 16, 24, 32) x (1, 1, 2, 1), 10 classes, 58,018 parameters, float32, {out.stat().st_size:,} bytes",
        f"sha256 {file_sha256(out)}",
    ]
    before, after = read(FILES / source), read(out)
    assert after.config == before.config and after.card.layout == before.card.layout
    assert all(np.array_equal(after.tensors[name], before.tensors[name]) for name in before.tensors)
    file = FILES / source / "model.safetensors" if source == "huggingface" else FILES / source
    assert after.card.source_sha256 == file_sha256(file) and after.card.source == file.name


def test_convert_is_deterministic_in_other_processes_too(tmp_path):
    """Whatever Python's hash seed, the day, the name of the result; the hash is recorded to notice a change."""
    for seed in ("0", "1", "12345"):
        command = [sys.executable, "-m", "minivan", "convert", FILES / "official.pth.tar", tmp_path / seed]
        subprocess.run(command, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}, check=True)
    assert len({file_sha256(tmp_path / seed) for seed in ("0", "1", "12345")}) == 1
    assert file_sha256(tmp_path / "0") == "94576747b4a413bc127d39578019c3d052591dd8cb34f30a6698a418d3955038"


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--not-sure", "30", "not_sure is a probability between 0 and 1, got 30.0"),
        ("--weights-version", "2\nb", r"the weights' version is a text on one line, got '2\nb'"),
    ],
)
def test_a_threshold_or_a_version_that_is_none_is_one_line(run, tmp_path, flag, value, said):
    status, _, errors = run("convert", FILES / "official.pth.tar", tmp_path / "out", flag, value)
    assert (status, errors) == (2, f"minivan: {said}\n") and not list(tmp_path.iterdir())


def test_the_bundled_weights_are_what_their_readme_says():
    """The file's SHA-256 stands in the README, and the file names its source's."""
    readme = (ROOT / "weights" / "README.md").read_text()
    bundled = read(BUNDLED)
    assert bundled.card.sha256 in readme and bundled.card.source_sha256 in readme
    labels = (ROOT / "weights" / "tiny_imagenet200.tsv").read_text().splitlines()
    assert [f"{label.wnid}\t{label.name}" for label in bundled.card.labels] == labels


@pytest.mark.parametrize(("out", "said"), [("no/such/folder/x", "No such file"), ("", "Is a directory")])
def test_an_output_that_cannot_be_written_is_named_as_the_user_typed_it(run, tmp_path, out, said):
    status, _, errors = run("convert", FILES / "official.pth.tar", tmp_path / out)
    assert status == 2 and len(errors.splitlines()) == 1
    assert errors.startswith(f"minivan: {tmp_path / out}: {said}")
    assert list(tmp_path.iterdir()) == []


def test_convert_float16_labels_eps_and_preprocessing(run, tmp_path):
    out = tmp_path / "net.safetensors"
    (tmp_path / "names.txt").write_text("".join(f"n{i}\tname {i}\n" for i in range(10)))
    flags = ["--dtype", "float16", "--labels", tmp_path / "names.txt", "--eps", "1e-5", "--preset", "hf", "--crop", "64"]
    flags += ["--weights-version", "3", "--not-sure", "0.25"]
    assert run("convert", FILES / "official.pth.tar", out, *flags, "--mean", "0.1", "0.2", "0.3")[0] == 0
    weights = read(out)
    assert (weights.card.version, weights.card.not_sure) == ("3", 0.25)
    assert weights.card.labels[3] == ("n3", "name 3") and weights.config.layer_norm_eps == 1e-5
    assert weights.card.preprocessing == Preprocessing(64, 256, (0.1, 0.2, 0.3), (0.229, 0.224, 0.225))
    assert {tensor.dtype for tensor in safetensors.numpy.load_file(out).values()} == {np.dtype(np.float16)}
    again = tmp_path / "again.safetensors"
    assert run("convert", out, again, "--dtype", "float16")[0] == 0
    assert again.read_bytes() == out.read_bytes(), "from minivan's own file nothing is lost"


@pytest.mark.parametrize("source", SOURCES)
def test_round_trip_to_the_authors_names(run, tmp_path, source):
    own, back = tmp_path / "own.safetensors", tmp_path / "back.safetensors"
    assert run("convert", FILES / source, own)[0] == 0
    status, _, errors = run("convert", own, back, "--to", "authors")
    eps = "note: the authors' code has LayerNorm eps 1e-06, these weights 1e-05\n"
    lost = f"input size, mean and std: {back.name}.json does, which minivan reads beside it\n"
    names = (
        f"{eps}note: the tensors alone do not say class names, "
        if "mm" in source
        else f"{UNNAMED}note: the tensors alone do not say "
    )
    assert status == 0 and errors == names + lost
    tensors, expected = safetensors.numpy.load_file(back), read(FILES / source).tensors
    assert set(tensors) == set(expected)
    assert all(tensors[name].tobytes() == expected[name].tobytes() for name in expected)


def test_convert_says_what_a_person_should_know(run, tmp_path):
    state = {name: tensor.double() + 1e-9 for name, tensor in saved.state_dict().items() if tensor.is_floating_point()}
    source = saved.save({"state_dict_ema": state, "state_dict": {}}, tmp_path / "net.pth")
    status, _, errors = run("convert", source, tmp_path / "out")
    assert status == 0
    assert errors.startswith("note: 'state_dict_ema' was read, the averaged weights\nnote: ")
    assert errors.endswith(f"float64 tensors were rounded to float32, the engines' type\n{UNNAMED}{UNSIZED}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-file.pth", "OUT"], "no file 'no-such-file.pth'"),
        (["b0", "OUT"], "fetch them: python -m minivan fetch b0"),
        (["FILES", "OUT"], "a folder without weights"),
        (["FILES/expected.npz", "OUT"], "NumPy arrays (.npz)"),
        (["FILES/config.json", "OUT"], "a text file"),
        (["FILES/official.pth.tar", "nowhere/OUT"], "nowhere"),
        (["FILES/official.pth.tar", "."], "."),
        (["FILES/official.pth.tar", "OUT.pth"], "OUT.pth: it ends in .pth; weights are written as .safetensors"),
        (["FILES/official.pth.tar", "OUT", "--labels", "FILES/config.json"], "config.json: 1 labels for 10 classes"),
        (["FILES/official.pth.tar", "OUT", "--labels", "missing.txt"], "missing.txt: No such file"),
        (["FILES/official.pth.tar", "OUT", "--labels", "FILES/expected.npz"], "UTF-8"),
        (["FILES/official.pth.tar", "OUT", "--eps", "2"], "minivan: eps 2: it lies between 0 and 1"),
        (["FILES/official.pth.tar", "OUT", "--eps", "nan"], "minivan: eps nan: it lies"),
        (["FILES/official.pth.tar", "OUT", "--crop", "0"], "crop and resize lie in 1..8192"),
        (["FILES/official.pth.tar", "OUT", "--std", "1", "0", "1"], "std positive"),
        (["FILES/official.pth.tar", "OUT", "--key", "model"], "no network under 'model': there is one: 'state_dict'"),
    ],
)
def test_convert_of_what_cannot_be_is_one_line(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, errors = run("convert", *(word.replace("FILES", str(FILES)) for word in arguments))
    assert status == 2 and out == ""
    assert errors.startswith("minivan: ") and errors.count("\n") == 1 and words in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["convert", "classify"])
@pytest.mark.parametrize("fault", ["missing", "extra", "misshapen"])
def test_incomplete_weights_are_one_line_and_nothing_is_written(run, tmp_path, command, fault):
    state = saved.state_dict()
    if fault == "missing":
        del state["norm4.bias"]
    elif fault == "extra":
        state["norm5.bias"] = state["norm4.bias"]
    else:
        state["norm4.bias"] = torch.ones(9)
    words = {"missing": "bias (8,) is missing", "extra": "'norm5.bias' (8,) is unknown", "misshapen": "(9,), not (8,)"}[fault]
    path = saved.save(state, tmp_path / "net.pth")
    photo = ROOT / "examples" / "cat.jpg"
    arguments = [path, tmp_path / "out"] if command == "convert" else [photo, "--weights", path]
    status, out, errors = run(command, *arguments)
    assert status == 2 and out == "" and errors.count("\n") == 1 and words in errors
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("flag", ["--dtype=int8", "--to=torch", "--preset=mine", "--mean=1", "--crop=x", "--nonsense"])
def test_a_wrong_call_of_convert_exits_2(run, flag):
    assert run("convert", "a", "b", flag)[0] == 2


def test_convert_does_not_overwrite_its_source(run, tmp_path):
    path = tmp_path / "net.safetensors"
    shutil.copy(FILES / "official.pth.tar", path)
    status, _, errors = run("convert", path, path)
    assert status == 2 and "this is the file to be converted" in errors and file_sha256(path) == OFFICIAL_SHA256


# weights


def test_weights_lists_the_bundled_file(run):
    status, out, errors = run("weights")
    assert status == 0 and errors == ""
    lines = out.splitlines()
    assert lines[0] == f"{BUNDLED.stem}: bundled, the default" and run("weights", "list") == (status, out, errors)
    assert [line.split()[0] for line in lines[1:7]] == ["version", "variant", "classes", "source", "file", "sha256"]
    rows = dict(line.split(maxsplit=1) for line in lines[1:7])
    assert (rows["version"], rows["variant"], rows["classes"], rows["sha256"]) == ("2", "b0", "200", file_sha256(BUNDLED))
    assert f"{BUNDLED.stat().st_size:,} bytes" in rows["file"]
    assert lines[-1] == "to fetch: b0, b1, b2, b3, b4 (python -m minivan fetch NAME)"


def test_fetch_then_weights_then_classify(run, home, server):
    status, out, errors = run("fetch", "b0", "--url", server.url(), "--sha256", OFFICIAL_SHA256)
    path = home / "weights" / "van_b0_url.safetensors"
    assert status == 0 and errors == f"{NAMED}{GUESSED}note: these weights have another shape than the published b0\n"
    assert out.splitlines() == [
        f"{server.url()}: the SHA-256 {OFFICIAL_SHA256} is the given one",
        f"van_b0_url: VAN (8, 16, 24, 32) x (1, 1, 2, 1), 10 classes, 58,018 parameters, now the default; kept as {path}",
    ]
    lines = run("weights")[1].splitlines()
    assert lines[0] == "van_b0_url: fetched, the default" and lines[6] == f"{BUNDLED.stem}: bundled"
    assert lines[1].split(maxsplit=1)[1] == "VAN (8, 16, 24, 32) x (1, 1, 2, 1)" and server.url() in lines[3]
    photo = ROOT / "examples" / "coffee.jpg"
    assert '"model": "van_b0_url"' in run("classify", photo, "--json")[1]
    assert '"model": "van_b0_url"' in run("classify", photo, "--json", "--model", "b0")[1]
    assert f'"model": "{BUNDLED.stem}"' in run("classify", photo, "--json", "--model", BUNDLED.stem)[1]
    status, out, errors = run("classify", photo, "--model", "b2")
    assert status == 2 and out == ""
    assert errors == "minivan: the weights of b2 are not here: fetch them: python -m minivan fetch b2\n"
    assert len(server.asked) == 1, "only fetch uses the network"


def test_an_unusable_file_in_the_cache_is_named(run, home):
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "van_b1_authors.safetensors").write_bytes(b"half a file")
    status, out, errors = run("weights")
    assert status == 1 and f"{BUNDLED.stem}: bundled" in out
    assert errors.startswith("minivan: unusable: ") and "van_b1_authors.safetensors" in errors and errors.count("\n") == 1


def test_where_no_file_is_usable_nothing_could_be_judged(run, home, monkeypatch):
    monkeypatch.setattr(hub, "bundled", list)
    status, out, errors = run("weights")
    assert status == 0 and out.startswith("no weights are here\nto fetch: ") and errors == ""
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "van_b1_authors.safetensors").write_bytes(b"half a file")
    status, out, errors = run("weights")
    assert status == 2 and out.startswith("to fetch: ") and errors.startswith("minivan: unusable: ")


def test_what_is_here_as_a_library_says_it(home):
    (home / "weights").mkdir(parents=True)
    half = home / "weights" / "half.safetensors"
    half.write_bytes(b"half a file")
    broken, *others = here()
    assert (broken.path, broken.place, broken.default, broken.checkpoint) == (half, "fetched", True, None)
    assert broken.fault.startswith(f"{half}: ") and [entry.path for entry in others] == hub.bundled()
    (entry, *_) = others
    assert (entry.place, entry.default, entry.fault) == ("bundled", False, "")
    assert entry.checkpoint.card == read(BUNDLED).card and entry.checkpoint.size == BUNDLED.stat().st_size
    assert facts(entry.checkpoint)["variant"] == "b0"


def screen_lines(text):
    """Lines that a screen of 80 columns takes for a text."""
    return sum(max(1, -(-len(line) // 80)) for line in text.splitlines())


@pytest.mark.parametrize("source", SOURCES)
def test_weights_show_prints_metadata_and_tensors(run, source):
    status, out, errors = run("weights", "show", FILES / source)
    assert status == 0 and errors == ""
    lines = out.splitlines()
    kind = {"official_legacy.pth.tar": "PyTorch legacy", "huggingface": "safetensors"}.get(source, "PyTorch zip")
    assert f": {kind}, " in lines[0]
    rows = {key: value.strip() for key, value in (line.strip().split("  ", 1) for line in lines[1:10])}
    assert rows["shape"].startswith("dims 8 16 24 32, depths ") and rows["shape"].endswith(", MLP ratios 8 8 4 4")
    assert rows["classes"].startswith("10 (")
    assert rows["eps"] == f"LayerNorm {'1e-05' if 'mm' in source else '1e-06'}, BatchNorm 1e-05"
    assert lines[0].endswith(" bytes, 164 tensors, 58,594 numbers")
    assert [line.split()[:2] for line in lines[-5:-1]] == [["stage", str(stage)] for stage in range(1, 5)]
    assert lines[-1].split() == ["head", "float32", "2", "tensors", "330"]
    assert screen_lines(out) <= 24
    every = run("weights", "show", "--tensors", FILES / source)[1].splitlines()
    assert ["head.weight", "float32", "10", "x", "32", "320"] in [line.split() for line in every]
    assert len(every) == len(lines) - 5 + 164


def test_weights_show_says_which_network_was_found_and_what_is_odd(run, tmp_path):
    state = saved.state_dict()
    state["head.bias"][0] = float("nan")
    path = saved.save({"student": state, "teacher": saved.state_dict()}, tmp_path / "net.pth")
    assert "2 networks: 'student' (VAN" in run("weights", "show", path)[2]
    out = run("weights", "show", path, "--key", "student")[1]
    assert "authors, under student\n" in out and "head.bias has 1 numbers that are NaN or infinite: loading needs" in out
    assert run("convert", path, tmp_path / "out", "--key", "student")[0] == 2
    status, _, errors = run("convert", path, tmp_path / "out", "--key", "student", "--allow-nonfinite")
    assert status == 0 and "note: 'student' was read, as asked\n" in errors and "note: head.bias has 1 numbers" in errors


def test_weights_show_takes_one_screen_whatever_the_file_holds(run, tmp_path):
    state = {f"module.backbone.{name}": value for name, value in saved.state_dict().items() if "head" not in name}
    state |= {f"module.decode_head.{'deeper.' * 20}{i}.weight": torch.ones(1) for i in range(30)}
    state |= {f"module.{'wide_' * 20}{i}.weight": torch.ones(1) for i in range(30)}
    path = saved.save({"state_dict": state, "optimizer": {i: torch.ones(1) for i in range(9)}}, tmp_path / "net.pth")
    status, out, _ = run("weights", "show", path)
    assert status == 0 and screen_lines(out) <= 24


def test_weights_show_goes_on_below_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    plain = run("weights", "show", FILES / "official.pth.tar")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    folded = run("weights", "show", FILES / "official.pth.tar")[1]
    assert folded.split() == plain.split() and folded != plain
    assert all(len(line) <= 60 for line in folded.splitlines() if len(max(line.split(), key=len)) < 40)


def test_weights_show_of_minivan_s_own_by_name(run):
    card = read(BUNDLED).card
    out = run("weights", "show", BUNDLED.stem)[1]
    assert f"{BUNDLED}: minivan's own, " in out and "float16" in out
    assert f"{len(card.labels)} ({', '.join(label.short for label in card.labels[:3])}, ...)" in out
    assert card.sha256 in out and card.source in out and card.source_sha256 in out
    assert ["version", card.version] in [line.split() for line in out.splitlines()]
    assert f"below a first probability of {card.not_sure:g}" in out


@pytest.mark.parametrize("name", ["nothing", "b3", "FILES/config.json", "FILES"])
def test_weights_show_of_what_is_none_is_one_line(run, name):
    status, out, errors = run("weights", "show", name.replace("FILES", str(FILES)))
    assert status == 2 and out == "" and errors.count("\n") == 1


@pytest.mark.parametrize("arguments", [["show"], ["hide"], ["show", "a", "b"], ["--nonsense"]])
def test_a_wrong_call_of_weights_exits_2(run, arguments):
    assert run("weights", *arguments)[0] == 2


# fetch


@pytest.mark.parametrize("arguments", [[], ["b0", "--from", "me"], ["b0", "--sha256", "12"], ["b0", "--sha256", "g" * 64]])
def test_a_wrong_call_of_fetch_exits_2(run, home, arguments):
    assert run("fetch", *arguments)[0] == 2
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["b5"], "no address of b5 is known"),
        (["b4", "--from", "huggingface"], "no address of b4 is known from huggingface"),
        (["van-huge"], "no VAN variant is called 'van-huge'"),
        (["b0", "--url", "ftp://127.0.0.1/x"], "http://"),
    ],
)
def test_fetch_of_what_cannot_be_is_one_line(run, home, arguments, words):
    status, out, errors = run("fetch", *arguments)
    assert status == 2 and out == "" and words in errors and errors.count("\n") == 1
    assert not home.exists()


def test_fetch_without_a_known_hash_prints_the_one_it_saw(run, home, server):
    out = run("fetch", "my-net", "--url", server.url())[1]
    assert "no SHA-256 of this file is known" in out and OFFICIAL_SHA256 in out
    assert find("my-net") == home / "weights" / "my-net.safetensors"


def test_the_progress_bar_shows_what_came(home, server):
    """On a terminal a bar is drawn on standard error; here its terminal is a pseudo one."""
    import os
    import pty

    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "minivan", "fetch", "b0", "--url", server.url()]
    environment = os.environ | {"MINIVAN_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"}
    child = subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        seen += part
    assert child.wait(timeout=60) == 0
    os.close(leader)
    assert "━".encode() in seen and b"kB" in seen


def test_a_pipe_closed_early_is_no_error(tmp_path):
    for arguments in (["weights"], ["weights", "show", FILES / "official.pth.tar"]):
        command = [sys.executable, "-u", "-m", "minivan", *arguments]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == "" and child.wait() == 0
