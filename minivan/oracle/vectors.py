"""Writing the test vectors to a folder that any language can read, and reading one back as something to compare with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import input
from ..checkpoint.budget import Budget
from ..checkpoint.json_text import parse_json
from ..checks import Floating
from ..engines import EXACT, Engine
from ..errors import quote, sentence, shortened
from ..floating import undisturbed
from ..hooks import Callback
from ..operators import Array
from ..output import filling, replacing
from ..paths import INPUT
from ..shipped import PACKAGE
from ..splitmix import GENERATOR
from .arithmetic import ROUNDED, Arithmetic
from .arrays import read_npy
from .cases import CLASSES, CONVOLUTIONS, OPERATORS, Case, Tensor, all_cases, classes, runner
from .digests import digest
from .gradients import Loss
from .replay import Run
from .trace import Trace
from .training_cases import TRAINING, training_cases, training_runner

FORMAT = "minivan-vectors 1"
MANIFEST = "manifest.json"
GUIDE = PACKAGE / "oracle" / "FORMAT.md"
LARGEST_MANIFEST = 8 << 20  # bytes; that of all vectors has about 60,000
LONGEST_FAULT = 500  # characters of what a message says of a manifest
GEOMETRY = ("stride", "padding", "dilation", "groups")
LARGEST = 64  # of these: far above those of the vectors, and no reason to ask for gigabytes
CASE = re.compile(r"\w{1,80}/\w{1,80}", re.ASCII)  # what a test vector is called
EPSILONS = ("eps", "layer_norm_eps", "batch_norm_eps")


def write(folder: str | Path, operators: Iterable[str] | None = None, arithmetic: Arithmetic | None = None) -> int:
    """Write the test vectors of all operators, or of those named, with their manifest and its description; return how many.

    With an `arithmetic` their outputs are those of `exact` in a port's own precision; the arrays are float32 all the same.

    Raises ValueError for a name that is no operator's, OSError where the folder cannot be written. A folder that is new has its
    name only when all is in it; in one that was there, the manifest is written last.
    """
    with undisturbed():  # denormal numbers are among them
        return _write(Path(folder), None if operators is None else list(operators), arithmetic)


def _write(folder: Path, operators: Sequence[str] | None, arithmetic: Arithmetic | None) -> int:
    cases = list(known_cases() if arithmetic is None else all_cases())
    known = list(dict.fromkeys(case.operator for case in cases))
    for name in operators or ():
        if name not in known:
            raise ValueError(f"no operator is called {name!r}; test vectors exist for {', '.join(known)}")
    chosen = [case for case in cases if not operators or case.operator in operators]
    with filling(folder) as place:
        manifest = {
            "format": FORMAT,
            "generator": GENERATOR,
            "classes": CLASSES if arithmetic is None else classes(arithmetic.word),
            **({} if arithmetic is None else arithmetic.metadata()),
            "cases": [_write_case(place, case, arithmetic) for case in chosen],
        }
        with replacing(place / GUIDE.name) as file:
            file.write(input.read(GUIDE, LARGEST_MANIFEST))
        with replacing(place / MANIFEST) as file:
            file.write((json.dumps(manifest, indent=1) + "\n").encode())
    return len(chosen)


def known_cases() -> Iterator[Case]:
    """Yield every test vector; those of what trains come last, and are of `exact` alone."""
    yield from all_cases()
    yield from training_cases()


def compute(case: Case, engine: Engine = EXACT) -> dict[str, Floating]:
    """Return a case's outputs on an engine, `exact`, in order."""
    outputs: dict[str, Floating] = {}

    def hook(path: str, array: Array) -> None:
        if path != INPUT:
            outputs[path] = np.asarray(array)

    parameters = {name: tensor.values for name, tensor in case.parameters.items()}
    with undisturbed():
        _run_of(case.operator, case.x.values, None if case.dy is None else case.dy.values, parameters, case.attributes)(
            engine, hook
        )
    return outputs


def _run_of(
    operator: str, x: Floating, dy: Floating | None, parameters: Mapping[str, Floating], attributes: Mapping[str, Any]
) -> Run:
    if operator in TRAINING:
        return training_runner(operator, x, dy, parameters, attributes)
    return runner(operator, x, parameters, attributes)


def _write_case(folder: Path, case: Case, arithmetic: Arithmetic | None) -> dict[str, Any]:
    """Write one case's tensors and return its entry in the manifest."""
    home = f"{case.operator}/{case.name}"
    engine = EXACT if arithmetic is None else arithmetic.engine
    outputs = {name: Tensor(values) for name, values in compute(case, engine).items()}
    return {
        "name": home,
        "operator": case.operator,
        "attributes": case.attributes,
        "class": case.tolerance,
        "note": case.note,
        "inputs": _write_tensors(folder, f"{home}/inputs", {"x": case.x, **({} if case.dy is None else {"dy": case.dy})}),
        "parameters": _write_tensors(folder, f"{home}/parameters", case.parameters),
        "outputs": _write_tensors(folder, f"{home}/outputs", outputs),
    }


def _write_tensors(folder: Path, home: str, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Write tensors as HOME/NAME.npy and return their entries."""
    entries: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        file = f"{home}/{name}.npy"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / file) as opened:
            np.save(opened, np.ascontiguousarray(tensor.values, "<f4"))
        entries[name] = {"file": file, "shape": tensor.values.shape, "dtype": "float32", "sha256": digest(tensor.values)}
        if tensor.stream is not None:
            entries[name]["stream"] = tensor.stream._asdict()
    return entries


def read_case(folder: str | Path) -> tuple[Trace, Run, str]:
    """Read one test vector, such as DIR/lka/real, as a trace; return also the function that runs it, and its class.

    Raises ValueError, naming the folder or file, where it is no test vector or its numbers are not the manifest's; OSError.
    The function raises ValueError where what the manifest says cannot be computed.
    """
    folder = Path(folder).resolve()
    name, path = f"{folder.parent.name}/{folder.name}", folder.parent.parent / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: not a test vector's folder (such as DIR/lka/real, with DIR/{MANIFEST}), and not a trace")
    try:
        manifest = _manifest(path)
        entry = next((case for case in manifest["cases"] if case["name"] == name), None)
        if entry is None:
            raise ValueError(f"it has no test vector called {name}")
        arrays = {role: _read_arrays(path.parent, _table(entry, role)) for role in ("inputs", "parameters", "outputs")}
        x, outputs = arrays["inputs"]["x"], arrays["outputs"]
        word = manifest.get("precision", "float32")
        if word not in ("float32", *ROUNDED):
            raise ValueError(f"its precision is {quote(word)}, which is none of float32, {', '.join(ROUNDED)}")
        metadata = {"format": FORMAT, "engine": "exact", "model": name, "weights_sha256": ""}
        metadata |= {} if word == "float32" else {"precision": word}
        if entry["class"] not in CLASSES:
            raise ValueError(f"{name} is of the class {quote(entry['class'])}, which is none of {', '.join(CLASSES)}")
        if entry["operator"] in TRAINING:
            metadata |= Loss().metadata(np.zeros(1, np.int64))
        run = _runner(entry, arrays["inputs"], arrays["parameters"], f"{path}: {name}")
        return Trace(outputs, x, metadata), run, entry["class"]
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged manifest ({shortened(repr(error), LONGEST_FAULT)})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {shortened(str(error), LONGEST_FAULT)}") from None


def case_names(folder: str | Path) -> list[str]:
    """Return the names of all test vectors of a folder, such as lka/real, in order. Raises ValueError, OSError."""
    path = Path(folder).resolve() / MANIFEST
    try:
        names = [case["name"] for case in _manifest(path)["cases"]]
        strange = next((name for name in names if not (isinstance(name, str) and CASE.fullmatch(name))), None)
        if strange is not None:
            raise ValueError(f"{quote(strange)} is no name of a test vector")
        return names
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged manifest ({shortened(repr(error), LONGEST_FAULT)})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {shortened(str(error), LONGEST_FAULT)}") from None


def _manifest(path: Path) -> Any:
    """Return what a manifest says. Raises ValueError for another format, and KeyError or TypeError where it says none."""
    text = input.read(path, LARGEST_MANIFEST, pipe=False)
    manifest = parse_json(text, "its text", Budget(len(text)))
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {quote(manifest['format'])}, which is not {FORMAT!r}: write the vectors anew")
    return manifest


def _table(entry: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return what an entry of the manifest holds by name; TypeError where it is a list or a number."""
    table = entry[role]
    if not isinstance(table, dict):
        raise TypeError(f"{role} is no object")
    return table


def _read_arrays(home: Path, entries: Mapping[str, Any]) -> dict[str, Floating]:
    arrays: dict[str, Floating] = {}
    for name, entry in entries.items():
        file = (home / entry["file"]).resolve()
        if not (file.is_relative_to(home) and file.is_file()):
            raise ValueError(f"{quote(entry['file'])} is no file of this folder")
        array = arrays[name] = read_npy(file)
        if array.dtype != np.dtype("<f4") or not array.size:
            raise ValueError(f"{quote(entry['file'])} holds {array.size} numbers of dtype {array.dtype}: no float32 tensor")
        if list(array.shape) != entry["shape"]:
            raise ValueError(f"{quote(entry['file'])} has the shape {array.shape}, not its own: write the vectors anew")
        if digest(array) != entry["sha256"]:
            raise ValueError(f"{quote(entry['file'])} does not have its SHA-256: write the vectors anew")
    return arrays


def _runner(entry: Mapping[str, Any], inputs: Mapping[str, Floating], parameters: Mapping[str, Floating], about: str) -> Run:
    """Return the function that runs an entry of the manifest; ValueError where operator or attributes are none that there are.

    The function raises ValueError, which begins with `about`, where they do not go with the tensors.
    """
    operator, attributes = entry["operator"], _table(entry, "attributes")
    if operator not in (*OPERATORS, *TRAINING):
        raise ValueError(f"no operator is called {quote(operator)}")
    for name, value in attributes.items():
        _check_attribute(name, value)
    if operator in CONVOLUTIONS and len({*parameters["weight"].shape[2:]}) != 1:
        raise ValueError(f"a kernel is square, and this weight has the shape {parameters['weight'].shape}")
    blocks = sum(attributes.get("depths", ()))
    if blocks > len(parameters):  # before a list of all that is missing takes any time
        raise ValueError(f"{blocks} blocks with {len(parameters)} parameters: most are missing")
    unguarded = _run_of(operator, inputs["x"], inputs.get("dy"), parameters, attributes)

    def run(engine: Engine, hook: Callback) -> None:
        try:
            unguarded(engine, hook)
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise ValueError(f"{about} cannot be computed as the manifest says ({sentence(error)})") from None

    return run


def _check_attribute(name: str, value: Any) -> None:
    """Raise ValueError for an attribute that no operator has, or a value that is none of it."""
    if name in GEOMETRY:
        right = type(value) is int and 0 <= value <= LARGEST
    elif name in EPSILONS:
        right = type(value) in (int, float) and 0 <= value < 1
    elif name == "size":
        right = isinstance(value, list) and len(value) == 2 and all(type(n) is int and 1 <= n <= LARGEST for n in value)
    elif name in ("dims", "depths", "mlp_ratios"):
        right = isinstance(value, list) and len(value) <= LARGEST and all(type(n) is int and abs(n) < 1 << 63 for n in value)
    else:
        right = name in ("classes", "channels") and type(value) is int and abs(value) < 1 << 63
    if not right:
        raise ValueError(f"the attribute {quote(name)} is {quote(value)}, which no operator takes")
