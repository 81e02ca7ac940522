"""The same bits everywhere: the committed digests, in fresh processes, for each instruction set that this processor has."""

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, reproduce
from support.floating import SETTINGS, built

from minivan import floating
from minivan.oracle.arithmetic import ROUNDED

# What Numba compiles for -> which vector registers its machine code must and must not use: proof that the setting took hold.
LEVELS = {
    "generic": (["xmm"], ["ymm", "zmm", "mask"]),
    "x86-64": (["xmm"], ["ymm", "zmm", "mask"]),
    "x86-64-v2": (["xmm"], ["ymm", "zmm", "mask"]),
    "x86-64-v3": (["ymm"], ["zmm", "mask"]),
    "x86-64-v4": (["mask"], []),
    "host": ([], []),
}
NEEDS = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}


def levels():
    """The instruction sets that this machine can run; elsewhere than on x86-64 that is its own alone."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return ["host"]
    return [level for level in LEVELS if level not in NEEDS or NEEDS[level] in flags]


def reproduce_in_a_fresh_process(cache, *arguments, level="host", **settings):
    """Run reproduce.py with a folder for compiled kernels, the tests' own where it is None; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k == "NUMBA_CACHE_DIR" or not k.startswith("NUMBA_")}
    environment |= {"NUMBA_NUM_THREADS": "2", **settings}
    if cache:  # everything is compiled there
        environment["MINIVAN_CACHE"] = str(cache)
    if level != "host":  # without CPU_FEATURES, Numba would add the host's own to any CPU's
        environment |= {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, str(ROOT / "tests" / "support" / "reproduce.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def used_registers(output) -> Counter:
    found = output.splitlines()[-1].rpartition("registers ")[2]
    return Counter({kind: int(count) for kind, count in re.findall(r"(\w+) (\d+)", found)})


def check(output, level, runs):
    """All bits the same, in code of the level asked for. No multiply and add may be fused: for the product of two float32,
    which is exact in float64, it would not matter, but inside erf and exp it would.
    """
    must, must_not = LEVELS[level][0], [*LEVELS[level][1], "fma"]
    found = used_registers(output)
    assert all(found[kind] for kind in must) and not any(found[kind] for kind in must_not), (level, found)
    assert output.count("same bits") == runs and "OTHER" not in output


def test_threads_and_batch_change_no_bit():
    """One network with 1 and 2 threads, alone and as one of eight. The slow test below does all, compiled at every level."""
    output = reproduce_in_a_fresh_process(None, "tiny", "tiny-fpn", "tiny-float16", "tiny-gradients")
    assert output.count("same bits") == 14 and "OTHER" not in output


def configurations():
    """The least instruction set and this machine's own, as users have them; by hand all others, and less optimisation."""
    for optimisation, level in itertools.product(("3", "1"), levels()):
        mark = {("3", "host"): pytest.mark.slow, ("3", "x86-64"): pytest.mark.slow}.get((optimisation, level), pytest.mark.long)
        yield pytest.param(level, optimisation, marks=mark)


@pytest.mark.parametrize(("level", "optimisation"), list(configurations()))
def test_every_network_in_every_configuration(tmp_path, level, optimisation):
    output = reproduce_in_a_fresh_process(tmp_path, *reproduce.USUAL, "tiny-gradients", level=level, NUMBA_OPT=optimisation)
    assert f"NUMBA_OPT _OptLevel({optimisation})" in output
    check(output, level, 4 * len(reproduce.USUAL) + 2)


@pytest.mark.slow
def test_the_optimiser_changes_no_bit(tmp_path):
    """Level 0 leaves the loops as they are written; 3, the default, is what every other test here runs."""
    output = reproduce_in_a_fresh_process(tmp_path, "tiny", "bundled", "b0", "tiny-float16", "--no-batch", NUMBA_OPT="0")
    assert "NUMBA_OPT _OptLevel(0)" in output and output.count("same bits") == 8


@pytest.mark.slow
@pytest.mark.skipif(not floating.SUPPORTED, reason="nothing is known of this processor's control register")
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_a_library_sets_from_outside_changes_no_bit(tmp_path, setting):
    """Flush to zero, and every rounding mode, before Numba's threads start: its threads are born with it."""
    names = ["tiny", "bundled", *(f"tiny-{word}" for word in ROUNDED)]
    output = reproduce_in_a_fresh_process(None, *names, "--no-batch", "--set", f"{built(tmp_path)}:{setting}")
    assert output.count("same bits") == 2 * len(names) and "OTHER" not in output


def test_python_itself_gives_the_same_bits_as_numba(tmp_path):
    output = reproduce_in_a_fresh_process(tmp_path, "minute", "tiny", "minute-bfloat16", "--no-batch", NUMBA_DISABLE_JIT="1")
    assert output.count("same bits") == 6 and not any(used_registers(output).values())


def test_this_process_gives_the_recorded_bits_with_its_warm_cache():
    for name in ("minute", "tiny", "bundled", "b0", *reproduce.REFERENCES, *reproduce.SEGMENTED, *reproduce.GRADIENTS):
        assert reproduce.digests(name) == reproduce.recorded(name), f"{name}: reproduce.py --write records anew"


def test_the_digests_are_of_the_layers_they_say():
    import hashlib

    model, images = reproduce.network("minute")
    lines = reproduce.recorded("minute").splitlines()
    stages = model.features(images[:1])
    for line, array in zip(lines[2:], [images[:1], *stages, model(images[:1])], strict=True):
        digest, shape, dtype, _ = line.split()
        assert digest == hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        assert (shape, dtype) == ("x".join(map(str, array.shape)), "float32")
