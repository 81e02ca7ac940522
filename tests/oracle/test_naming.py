"""Names: the maps of two libraries, numbers that a map shifts, and a port that needs none."""

import numpy as np
import pytest
from support.ports import as_port, reference, sound_port

from minivan.checkpoint.layouts import LAYOUTS
from minivan.oracle import naming, trace
from minivan.oracle.compare import compare

WITHOUT = ("layer_scale_1", "pool", "input")  # what no module of theirs gives


def theirs(library):
    """A sound port's layers under a library's names."""
    lines = naming.read_names(library)
    layers = {}
    for path, array in sound_port().items():
        if not path.endswith(WITHOUT):
            (name,) = {name_of(glob, name, path) for glob, name in lines} - {""}
            layers[name] = array
    return layers


def name_of(glob, name, path):
    """What a line of a map makes of a path, '' where it does not fit: written once more, by hand."""
    parts, globs = path.split("."), glob.split(".")
    if len(parts) != len(globs):
        return ""
    numbers = []
    for part, pattern in zip(parts, globs, strict=True):
        before, star, after = pattern.partition("*")
        if not (part.startswith(before) and part.endswith(after)) or (not star and part != pattern):
            return ""
        if star:
            numbers.append(part[len(before) : len(part) - len(after)])
    if not all(number.isdigit() for number in numbers):
        return ""
    for number in numbers:
        shifted = name.replace("{*-1}", str(int(number) - 1), 1)
        name = shifted if shifted != name else name.replace("*", number, 1)
    return name


@pytest.mark.parametrize("library", naming.MAPS)
def test_a_port_with_a_librarys_names_needs_no_map(library, tmp_path, run):
    layers = theirs(library)
    report = compare(reference(), as_port(layers))
    assert report.library == library and report.within and not report.unknown
    assert {path.rpartition(".")[2] for path in report.missing} == {"layer_scale_1", "pool"}
    assert len(report.rows) == len(reference().layers) - 5
    trace.write(reference(), tmp_path / "trace.safetensors")
    np.savez(tmp_path / "port.npz", **layers)
    command = ["oracle", "compare", tmp_path / "trace.safetensors", tmp_path / "port.npz"]
    status, out, _ = run(*command)
    assert status == 1 and f"the port's names are those of {library}" in out
    same = run(*command, "--map", library)
    assert (same[0], same[1]) == (status, out.replace(f"{next(line for line in out.splitlines() if library in line)}\n", ""))


@pytest.mark.parametrize("library", naming.MAPS)
def test_the_maps_agree_with_the_names_in_checkpoints(library):
    """What a library calls a module, it calls that module's weight with '.weight' after it."""
    layout = LAYOUTS[library]
    for glob, name in naming.read_names(library):
        ours = glob.replace("*", "2", 1).replace("*", "5", 1)
        theirs = name_of(glob, name, ours)
        known = layout.authors_name(f"{theirs}.weight")
        assert known in (f"{ours}.weight", None) and (known or ours.endswith(
            ("attn", "activation", "act", "unit", "block2.5")
        )), (ours, theirs)  # fmt: skip


def test_a_map_may_shift_numbers(tmp_path):
    (tmp_path / "map.txt").write_text("block*.*.norm1 = s{*-1}.u{*+10}\nnorm* = n{*-1}\n")
    names = naming.read_names(tmp_path / "map.txt")
    layers = as_port({"s1.u10": sound_port()["block2.0.norm1"], "n2": sound_port()["norm3"]})
    renamed = naming.rename(layers, names, reference().layers)
    assert renamed["block2.0.norm1"] is layers["s1.u10"] and renamed["norm3"] is layers["n2"]
    assert naming.rename(layers, [("*", "n{*-1}")], ["head"]) == layers  # no number, no name


@pytest.mark.parametrize("text, said", [
    ("block*.norm1 = {*-1}.{*-1}\n", "1 '\\*' on the left, 2 on the right"),
    ("block*.norm1 = bn{*-x}\n", None),
    ("norm* = bn\n", "1 '\\*' on the left, 0 on the right"),
])  # fmt: skip
def test_a_map_whose_sides_do_not_go_together_is_refused(tmp_path, text, said):
    (tmp_path / "map.txt").write_text(text)
    if said is None:  # what is no shift is a '*' between braces
        assert naming.read_names(tmp_path / "map.txt") == [("block*.norm1", "bn{*-x}")]
    else:
        with pytest.raises(ValueError, match=said):
            naming.read_names(tmp_path / "map.txt")


def test_a_file_of_that_name_goes_before_the_map_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openmmlab").write_text("head = logits\n")
    assert naming.read_names("openmmlab") == [("head", "logits")]
    assert len(naming.read_names("huggingface")) == 19


@pytest.mark.parametrize("library", naming.MAPS)
def test_a_bare_backbone_is_known_though_some_of_its_names_are_the_authors(library):
    within = naming.WITHIN[library]
    mapped = [(ours, theirs) for ours, theirs in naming.read_names(library) if theirs.startswith(within)]
    layers = {"norm1": object(), "patch_embed1.norm": object()}
    for glob, theirs in mapped:
        ours = glob.replace("*", "2", 1).replace("*", "0", 1)
        layers[name_of(glob, theirs, ours).removeprefix(within)] = ours
    assert naming.known(layers, reference().layers) == library
    found = naming.of_library(layers, library, reference().layers)
    assert all(found[path] == path for path in ("block2.0.attn.proj_1", "block2.0.mlp.fc2", "patch_embed2.proj"))


def test_names_of_its_own_need_no_library():
    assert naming.known(as_port(sound_port()), reference().layers) == ""
    assert naming.known(as_port({"a": sound_port()["head"]}), reference().layers) == ""
