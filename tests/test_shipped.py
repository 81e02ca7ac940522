"""minivan in a zip: what comes with it is found and read there, and nothing is unpacked."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipapp
import zipfile

import pytest
from support import EXAMPLES, ROOT

DATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive of the package as a wheel would install it, which Python can run; the packages that it needs lie elsewhere."""
    folder = tmp_path_factory.mktemp("zip")
    root = folder / "root"
    shutil.copytree(ROOT / "minivan", root / "minivan", ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    for source, place in DATA.items():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, root / place)
        else:
            shutil.copyfile(ROOT / source, root / place)
    (root / "__main__.py").write_text("import minivan.__main__\n")
    zipapp.create_archive(root, folder / "minivan.pyz", interpreter="/usr/bin/env python3", compressed=True)
    shutil.rmtree(root)
    return folder / "minivan.pyz"


@pytest.fixture
def run(archive, tmp_path):
    """Run Python with minivan from the archive alone, somewhere else; it must leave nothing in the temporary folder."""

    def call(*arguments, imported=True, status=0, **environment):
        temporary = tmp_path / "temporary"
        temporary.mkdir(exist_ok=True)
        known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"TMPDIR": str(temporary)}
        environment = known | ({"PYTHONPATH": str(archive)} if imported else {}) | environment
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
        assert not any(temporary.iterdir())
        return done.stdout, done.stderr

    return call


def test_an_image_is_built_from_all_that_a_wheel_holds():
    assert {f"!{source}" for source in DATA} <= set((ROOT / ".dockerignore").read_text().splitlines())


WITHOUT_COMPILING = """
import sys, tempfile
import minivan, minivan.card, minivan.image
from minivan.checkpoint import bundled, find, here
from minivan.checkpoint.hub import bundled_heads
from minivan.lesson import photo
from minivan.oracle import vectors
from minivan.segmentation import files
archive, picture = sys.argv[1:]
assert minivan.__file__.startswith(archive)
model = minivan.load(engine="numpy")
assert model.card.file == find(model.card.name) == find(bundled()[0]) == find(str(bundled()[0]))
assert len(model.card.sha256) == 64
assert [entry.fault for entry in here()] == [""]
assert all(files.load(path, engine="numpy").card.file == path for path in bundled_heads())
assert len(minivan.card.imagenet1k()) == 1000
walked = photo.walk(model, photo.example())
assert minivan.image.decode(picture).size == (40, 30)  # by a process of its own
assert vectors.write("vectors", ["gelu"]) and open("vectors/FORMAT.md").read().startswith("#")
"""


@pytest.mark.slow
def test_weights_labels_photos_and_scripts_are_read_in_the_archive(run, archive, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.tiff")
    run("-c", WITHOUT_COMPILING, archive, tmp_path / "red.tiff")


@pytest.mark.once
def test_every_command_works_from_the_archive_and_keeps_its_kernels(run, archive, tmp_path):
    def command(*arguments, **environment):
        return run("-m", "minivan", *arguments, **environment)

    cat = EXAMPLES / "cat.jpg"
    assert "van_b0_tiny_imagenet200: bundled, the default" in command("weights")[0]
    assert "coffee" in command("lka")[0]
    command("warmup")  # no kernel of these sources may be left to compile
    for engine in ("fast", "exact", "numpy"):
        out, err = command("classify", cat, "--engine", engine, MINIVAN_COMPILE_NOTE="1")
        assert "Egyptian cat" in out and not err
    command("explain", cat, "-o", tmp_path / "map.png")
    said = json.loads(command("doctor", "--json")[0])
    assert said["wrong"] == 0 and str(archive) in json.dumps(said)


@pytest.mark.slow
def test_the_archive_itself_is_a_command(run, archive):
    assert "van_b0_tiny_imagenet200: bundled, the default" in run(archive, "weights", imported=False)[0]
    out, err = run(archive, "classify", EXAMPLES / "cat.jpg", "--engine", "numpy", imported=False)
    assert "Egyptian cat" in out and not err


@pytest.mark.slow
def test_many_processes_and_forks_read_one_archive(run):
    forks = """
import os, minivan
from minivan.checkpoint import bundled, read
minivan.load(engine="numpy")
children = []
for _ in range(4):
    if (child := os.fork()) == 0:
        os._exit(0 if all(read(bundled()[0]).card.labels for _ in range(5)) else 1)
    children.append(child)
assert not any(os.waitpid(child, 0)[1] for child in children)
"""
    run("-c", forks)


@pytest.mark.slow
def test_a_file_in_the_archive_is_read_by_its_path_and_one_that_is_not_there_is_one_true_line(run, archive, tmp_path):
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "less.zip", "w") as less:
        for name in whole.namelist():
            if not name.endswith("coffee.jpg"):
                less.writestr(name, whole.read(name))
    out, _ = run("less.zip", "classify", "less.zip/minivan/bundled/cat.jpg", "--engine", "numpy", imported=False)
    assert "Egyptian cat" in out
    for command, said in (
        (["classify", "less.zip/no.jpg", "--engine", "numpy"], "less.zip/no.jpg"),
        (["lka"], f"{tmp_path}/less.zip/minivan/bundled/coffee.jpg"),
    ):
        _, err = run("less.zip", *command, imported=False, status=2)
        assert err == f"minivan: {said}: no file of the zip that minivan is imported from\n"


def test_an_archive_without_the_weights_and_one_that_is_gone_are_one_line(run, archive, tmp_path):
    bare = tmp_path / "bare.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(bare, "w") as less:
        for name in whole.namelist():
            if "bundled" not in name:
                less.writestr(name, whole.read(name))
    _, err = run("-m", "minivan", "classify", EXAMPLES / "cat.jpg", imported=False, status=2, PYTHONPATH=str(bare))
    assert err.count("\n") == 1 and "fetch" in err
    gone = f"""
import os, minivan.checkpoint, minivan.checkpoint.weights
from minivan.checkpoint import bundled, read
path = bundled()[0]
open({str(bare)!r}, "wb").write(b"another archive")
try:
    read(path)
except OSError as error:
    assert str(path) in str(error) and "zip" in str(error), error
else:
    raise AssertionError
"""
    shutil.copyfile(archive, bare)
    run("-c", gone, imported=False, PYTHONPATH=str(bare))
