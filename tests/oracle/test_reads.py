"""How often, and how much of, a port's and a trace's files is read: large networks' layers take gigabytes."""

from collections import Counter

import numpy as np
from support import ports
from support.ports import numpy_layers, reference, sound_port, with_tensor

from minivan.oracle.baseline import Baseline
from minivan.oracle.compare import Asked
from minivan.oracle.recorded import Recorded
from minivan.oracle.stored import Held

FC1 = f"{ports.PLANTED}.mlp.fc1"


def counted(layers):
    """A port that lies in a file, and how often each layer of it was read."""
    reads = Counter()

    def held(path, array):
        def read():
            reads[path] += 1
            return array

        return Recorded(Held(array.dtype.name, array.shape, read), array.dtype.name)

    return {path: held(path, array) for path, array in layers.items()}, reads


def judge(port, **asked):
    return Baseline(reference(), lambda: (ports.run, "")).judge(port, Asked(**asked))


def test_a_layer_is_read_to_be_measured_and_to_be_weighed_and_never_to_be_found():
    port, reads = counted(sound_port())
    assert not judge(port).report.offenders
    first = reads.pop("patch_embed1.proj")  # the layer that tells whether the port's numbers are those of a shorter format
    assert first == 3 and set(reads.values()) == {2} and len(reads) == len(port) - 1
    few = ("norm1", "block2.0", "norm4", "head")
    port, reads = counted({path: sound_port()[path] for path in few})
    judge(port, layers=few)
    assert max(reads.values()) <= 4  # and once more for what the hidden layers round


def test_a_hint_reads_once_more_what_lies_before_its_layer():
    port, reads = counted(numpy_layers(tensors=with_tensor(f"{FC1}.bias", np.zeros_like)))
    judged = judge(port)
    assert judged.hint() == "missing bias"
    assert all(reads[path] <= 3 for path in port if not path.startswith((ports.PLANTED, "patch_embed1")))
