"""The house's rules that a reader would otherwise have to trust."""

import ast
import functools
from pathlib import Path

import pytest
from support import ROOT

pytestmark = pytest.mark.loop

PACKAGE = sorted((ROOT / "minivan").rglob("*.py"))
KERNELS = ("njit", "inline", "intrinsic", "overload")  # decorators of what Numba compiles, or what stands for it
CHECKPOINT_NAMES = {  # parameters under the names that they have in a checkpoint, passed as **p
    "proj", "norm", "conv0", "conv_spatial", "conv1", "proj_1", "spatial_gating_unit", "proj_2", "fc1", "dwconv", "fc2",
    "norm1", "attn", "norm2", "mlp", "layer_scale_1", "layer_scale_2", "head",
}  # fmt: skip
LONG = {  # files of more than 400 lines -> the reason
    "examples/serve/server.py": "one file to copy: a server, its batches, its processes and its end",
}


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path):
    """All nodes of a file: every rule walks over them."""
    return list(ast.walk(tree_of(path)))


def functions(path):
    for node in nodes(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_no_function_outside_the_kernels_has_more_than_eight_parameters():
    found = []
    for path in PACKAGE:
        for f in functions(path):
            if any(name in ast.unparse(d) for d in f.decorator_list for name in KERNELS):
                continue
            names = [a.arg for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)]
            counted = [n for n in names if n not in ("self", "cls") and n not in CHECKPOINT_NAMES]
            if len(counted) > 8:
                found.append(f"{path.relative_to(ROOT)}:{f.lineno} {f.name}: {', '.join(counted)}")
    assert not found, "\n".join(found)


def test_no_private_name_of_one_folder_is_imported_by_another():
    found = []
    for path in PACKAGE:
        for node in nodes(path):
            if not isinstance(node, ast.ImportFrom) or (node.level == 0 and not (node.module or "").startswith("minivan")):
                continue
            inside = node.level == 1 and path.parent.name != "minivan"  # a room's own modules may share
            names = [*(alias.name for alias in node.names), *(node.module or "").split(".")]
            private = [name for name in names if name.startswith("_") and not name.startswith("__")]
            if private and not inside:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {', '.join(private)}")
    assert not found, "\n".join(found)


def test_no_private_name_of_another_module_of_minivan_is_asked_of_it():
    found = []
    for path in PACKAGE:
        within = [n for n in nodes(path) if isinstance(n, ast.ImportFrom) and n.level and not n.module]  # from .. import x
        modules = {alias.asname or alias.name for node in within for alias in node.names}
        asked = [n for n in nodes(path) if isinstance(n, ast.Attribute) and n.attr.startswith("_") and n.attr[:2] != "__"]
        for node in asked:
            if isinstance(node.value, ast.Name) and node.value.id in modules:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value.id}.{node.attr}")
    assert not found, "\n".join(found)


def test_files_are_short_and_named_after_one_thing():
    short = [
        p for folder in ("minivan", "tests", "examples", "benchmarks", "docs", ".ci") for p in (ROOT / folder).rglob("*.py")
    ]
    long = {str(p.relative_to(ROOT)) for p in short if len(p.read_text(encoding="utf-8").splitlines()) > 400}
    assert long == set(LONG)
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    everywhere = [p for folder in ("minivan", "tests", "examples", "benchmarks", "docs") for p in (ROOT / folder).rglob("*.py")]
    assert not [p for p in everywhere if vague & {p.stem, p.parent.name}]


def test_a_folder_of_tests_is_named_after_what_it_tests():
    folders = {p.parent.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py")} - {Path()}
    rooms = [(ROOT / "minivan" / name, (ROOT / "minivan" / name).with_suffix(".py"), ROOT / name) for name in folders]
    assert not [places for places in rooms if not any(place.exists() for place in places)]


def test_what_is_an_extra_is_never_imported_at_the_top_of_a_module():
    extras = {"torch", "onnxruntime", "openvino", "onnx", "matplotlib", "safetensors", "sklearn", "tifffile", "h5py", "jupyter"}
    found = []
    for path in PACKAGE:
        for node in tree_of(path).body:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            found += [f"{path.relative_to(ROOT)}: {m}" for m in modules if m.split(".")[0] in extras]
    assert not found


def test_no_script_takes_for_granted_that_python_keeps_its_docstring():
    """Under -OO it does not, and `__doc__` is None."""
    found = []
    for path in (p for folder in ("minivan", "examples", "benchmarks", "docs", ".ci") for p in (ROOT / folder).rglob("*.py")):
        for node in nodes(path):
            used = node.value if isinstance(node, (ast.Attribute, ast.Subscript)) else None
            if isinstance(used, ast.Name) and used.id == "__doc__":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found, "\n".join(found)
