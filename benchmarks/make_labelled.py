"""Make the labelled photographs that the recorded figures are about from Tiny ImageNet, which belongs to its authors:

    curl -O http://cs231n.stanford.edu/tiny-imagenet-200.zip
    python benchmarks/make_labelled.py tiny-imagenet-200.zip labelled.zip
    export MINIVAN_LABELLED=$PWD/labelled.zip

Of the 10,000 validation images, which no training has seen, it takes the first five of each of the 200 classes, in the order
of their names as text (val_1000 before val_101), and stores them as WNID/val_N.JPEG, unchanged. Made from the same photographs
it is the same file, byte for byte; its SHA-256 is printed, and the exit status is 1 where it is another than the one known.
Terms of the photographs: ImageNet's, research and education.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

SHA256 = "80380ba02edde953e35cc808037dab091a29a5026d0177cb0256d3b0cfb9fabe"
EACH = 5
ROOT = "tiny-imagenet-200/val"
WHEN = (2018, 7, 6, 2, 48, 26)  # one date for all, so that the file does not depend on when it is made
MODE = 0o100664  # a plain file


def chosen(annotations: str) -> list[tuple[str, str]]:
    """Return (class, file name) of the photographs to take, sorted, from the text of val_annotations.txt."""
    of_class: dict[str, list[str]] = defaultdict(list)
    for line in annotations.splitlines():
        name, wnid = line.split("\t")[:2]
        of_class[wnid].append(name)
    return [(wnid, name) for wnid in sorted(of_class) for name in sorted(of_class[wnid])[:EACH]]


def make(source: Path, target: Path) -> str:
    """Write the zip; return its SHA-256. ValueError where the source is not Tiny ImageNet's archive, OSError."""
    try:
        with zipfile.ZipFile(source) as original:
            wanted = chosen(original.read(f"{ROOT}/val_annotations.txt").decode())
            contents = [original.read(f"{ROOT}/images/{name}") for _, name in wanted]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{source} is not Tiny ImageNet's archive: {error.args[0]}") from None
    with zipfile.ZipFile(target, "w") as made:
        for (wnid, name), content in zip(wanted, contents, strict=True):
            member = zipfile.ZipInfo(f"{wnid}/{name}", WHEN)
            member.create_system, member.external_attr = 3, MODE << 16
            made.writestr(member, content)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="tiny-imagenet-200.zip, as downloaded")
    parser.add_argument("target", type=Path, help="the zip to write, 2 MB")
    args = parser.parse_args(argv)
    try:
        sha256 = make(args.source, args.target)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    same = sha256 == SHA256
    print(f"{args.target}: SHA-256 {sha256}, {'the one known' if same else f'which should be {SHA256}'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
