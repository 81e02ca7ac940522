"""Files that are no checkpoint of a kind that is read: each is called what it is."""

import os
import pickle

import numpy as np
import pytest
from support import saved
from support.judge import torch
from support.saved import Call
from support.watch import refused

OTHERS = {
    "empty": (b"", "the file is empty"),
    "text": (b"these are not weights\n" * 50, "a text file"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "a Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(99), "a gzip file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5 file"),
    "npy": (b"\x93NUMPY\x01\0" + bytes(99), "a NumPy array"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG image"),
    "zeros": (bytes(1000), "neither a PyTorch nor a safetensors file"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "pickled list": (pickle.dumps([1, 2]), "a pickle that torch.save did not write"),
    "empty zip": (saved.zip_of({}), "an empty zip file"),
    "npz": (saved.zip_of({"a.npy": b"x"}), "NumPy arrays (.npz)"),
    "other zip": (saved.zip_of({"word/document.xml": b"x"}), "'word/document.xml' first"),
    "TorchScript": (saved.zip_of({"m/data.pkl": b"x", "m/constants.pkl": b"y"}), "a TorchScript program"),
}


@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_other_files_are_called_what_they_are(file, data, words):
    refused(file, data, words)


def test_the_old_tar_format(file):
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            tar.addfile(tarfile.TarInfo(name))
    refused(file, buffer.getvalue(), "a tar file", "PyTorch's format before")


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_torch_jit(file):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(file))
    refused(file, file.read_bytes(), "a TorchScript program")


def test_names_in_messages_cannot_move_the_cursor(attack, file):
    attack(b"\x80\x02c\x1b[2Jos\nsys\x07tem\n.", r"\x1b[2Jos.sys\x07tem")
    refused(file, saved.zip_of({"\x1b[31m/data.pkl": b"x", "\x1b[31m/\r": b"y"}))


def test_numpy_is_not_asked_to_unpickle(file):
    np.save(file.with_suffix(".npy"), np.array([Call(os.system, "true")], dtype=object), allow_pickle=True)
    refused(file, file.with_suffix(".npy").read_bytes(), "a NumPy array")
