"""Digests: on several threads what one gives, and errors of other threads' work are raised here."""

import threading

import numpy as np
import pytest

from minivan.oracle import digests as module
from minivan.oracle.digests import digest, digests, meanwhile
from minivan.oracle.stored import Layers, OnDemand

ARRAYS = {f"layer{i}": np.arange(100 * i, dtype=np.float32) for i in range(40)}


@pytest.fixture
def no_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


class Unreadable(OnDemand):
    """Layers of which two cannot be read; which threads read is kept in `by`."""

    def __init__(self):
        self.by = set()
        super().__init__(ARRAYS)

    def __getitem__(self, name):
        return ARRAYS[name]

    def shape(self, name):
        return ARRAYS[name].shape

    def pieces(self, name, size):
        self.by.add(threading.get_ident())
        if name in ("layer7", "layer3"):
            raise OSError(f"{name} is gone")
        return Layers(ARRAYS).pieces(name, size)


@pytest.mark.parametrize("count", [1, 4])
def test_each_layer_has_its_digest_whatever_thread_takes_it(monkeypatch, count):
    monkeypatch.setattr(module, "threads", lambda: count)
    before = {*threading.enumerate()}
    found = digests(Layers(ARRAYS))
    assert list(found) == list(ARRAYS) and all(found[name] == digest(array) for name, array in ARRAYS.items())
    assert not {*threading.enumerate()} - before  # those of others may end meanwhile


def test_layers_are_taken_by_as_many_threads_as_there_are(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 3)
    together, layers = threading.Barrier(3, timeout=20), Layers({name: ARRAYS[name] for name in ("layer1", "layer2", "layer3")})
    monkeypatch.setattr(module, "digest_of", lambda pieces: str(together.wait()))
    assert sorted(digests(layers).values()) == ["0", "1", "2"]


def test_the_first_layer_that_cannot_be_read_is_the_one_that_is_told_of(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 2)
    with pytest.raises(OSError, match="layer3 is gone"):
        digests(Unreadable())


def test_where_no_thread_can_be_started_all_is_done_here(no_threads):
    layers = Unreadable()
    with pytest.raises(OSError, match="layer3"):
        digests(layers)
    assert layers.by == {threading.get_ident()}
    done = []
    with meanwhile(lambda: done.append(threading.get_ident())):
        assert not done
    assert done == [threading.get_ident()]


def test_what_is_done_meanwhile_is_done_when_the_block_ends_and_raises_there():
    done = []
    with meanwhile(lambda: done.append(threading.get_ident())):
        pass
    assert len(done) == 1 and done[0] != threading.get_ident()

    def fails():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"), meanwhile(fails):
        done.append(0)
    with pytest.raises(KeyError, match="first"), meanwhile(fails):
        raise KeyError("first")
