"""More of `hostile`: stand-ins by the million, and dictionaries in which it takes long to find a network."""

from __future__ import annotations

from .hostile import around, empty_tensors, filled, get, numbered, one_key, put, state, text

NAMES = {
    "stand-ins": lambda size: around(b"(" + b"ctheirs\nKind\nq\x00" + filled(b"h\x00)R", size) + b"l"),
    "stand-ins made by getattr": lambda size: around(
        b"cbuiltins\ngetattr\nq\x01ctheirs\nKind\n" + text("a") + b"\x86q\x00(" + filled(b"h\x01h\x00R", size) + b"l"
    ),
    "stand-ins in one another": lambda size: around(
        b"ctheirs\nKind\nq\x000N" + b"".join(b"\x85" + put(i) + b"0h\x00" + get(i) + b"R" for i in range(1, size // 14))
    ),
    "names of another package": lambda size: around(
        b"".join(f"ctheirs\nKind{i}\n0".encode() for i in range(size // 17)) + b"N"
    ),
    "items of a stand-in": lambda size: around(b"ctheirs\nKind\n)R" + filled(b"Na", size)),
    "keys of a stand-in": lambda size: around(b"ctheirs\nKind\n)R(" + numbered(size) + b"u"),
    "states of a stand-in": lambda size: around(b"ctheirs\nKind\n)R" + filled(b"}b", size)),
    "a list in many stand-ins": lambda size: around(
        b"ctheirs\nKind\nq\x000(" + filled(b"N", size // 2) + b"l\x85q\x010(" + filled(b"h\x00h\x01R", size // 2) + b"l"
    ),
    "networks with a block each": lambda size: state(
        b"".join(text(f"net{i}.block1.0.norm1.weight") + b"N" for i in range(size // 40))
    ),
    "a network's names again and again in one": lambda size: one_key("block1.0.norm1.weight." * (4000 // 22)),
    "wrappers in every key": lambda size: state(numbered(size, prefix="module._orig_mod." * 20)),
    "parts of tensors": lambda size: state(
        b"".join(text(f"block1.{i % 100000}.mlp.fc1.weight_orig") + b"N" for i in range(size // 40))
    ),
    "networks of an empty tensor each": empty_tensors(lambda i: f"net{i}.block1.0.norm1.weight"),
}  # fmt: skip
