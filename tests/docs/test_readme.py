"""What the READMEs show is what the program prints and what the files hold."""

import hashlib
import re

from support import ROOT

import minivan


def test_the_classify_transcript(run, newly_started):
    """Line for line, except for the milliseconds."""
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
        assert minivan.load(path).card.source_sha256 in readme
