"""What the READMEs show is what the program prints and what the files hold."""

import glob
import hashlib
import re
import shlex

import pytest
from support import ROOT

import minivan
from minivan import kernel_survey
from minivan.checkpoint import bundled
from minivan.cli import parser


def test_the_classify_transcript(run, newly_started, monkeypatch):
    """Line for line, except for the milliseconds, as it is where nothing is compiled yet."""
    monkeypatch.setattr(kernel_survey, "kept", lambda *_: False)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"\$ python -m minivan classify examples/coffee\.jpg\n(.*?)```", readme, re.DOTALL)[1]
    _, out, _ = run("classify", ROOT / "examples" / "coffee.jpg")
    strip = [[re.sub(r"\d+ ms$", "", line.rstrip()) for line in text.strip().splitlines()] for text in (shown, out)]
    assert strip[0][1:] == strip[1][1:]


def test_the_example_of_the_python_interface(monkeypatch, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"## From Python\n\n```python\n(.*?)```", readme, re.DOTALL)[1]
    monkeypatch.chdir(ROOT)
    exec(example, {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "espresso"
    assert printed[1] == "patch_embed1.proj (1, 32, 24, 24)" and printed[-1] == "head (1, 200)"


def test_the_bundled_weights_are_those_of_their_readme():
    readme = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "weights").glob("*.safetensors")):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"| this file | SHA-256 `{sha256}` |" in readme
    for path in bundled():
        assert minivan.load(path).card.source_sha256 in readme


def commands():
    """Return what the README has readers type, but for what uses the network, each as a list of words."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\$ )?python -m minivan (.*)$", readme, re.MULTILINE)
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words[0] != "fetch"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder that has what the root of a clone has, and may be written to."""
    for name in ("examples", "weights"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


def test_what_the_readme_has_readers_type_can_be_called_and_its_files_are_there(clone):
    made = set()
    assert len(commands()) >= 8
    for words in commands():
        args = vars(parser(words[0]).parse_args(words))
        output = str(args.get("output") or "")
        named = [str(value) for key in ("paths", "input", "trace", "other") for value in _list(args.get(key))]
        assert all(name in made or glob.glob(name) for name in named), words
        made.add(output)


def _list(value):
    return value if isinstance(value, list) else [value] if value else []


@pytest.mark.slow
def test_what_the_readme_has_readers_type_works_from_the_root_of_a_clone(clone, run):
    for words in commands():
        status, out, err = run(*[name for word in words for name in (sorted(glob.glob(word)) or [word])])
        assert status == 0 and "minivan:" not in err, (words, out, err)
