"""Put photos into WebDataset shards: .tar files of some thousand photos, which a cluster reads one after another.

    python examples/cluster/make_shards.py photos/ shards/ [--photos 1000]

A photo keeps its path as its key (photos/cups/a.b.jpg becomes cups/a_b.jpg, since a key ends at the first dot of the name).
Where photos lie in class folders, each has its class beside it in a .cls file, from which `minivan evaluate` reads it. The
files that are there already under a shard's name are replaced; each appears when it is whole.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

sys.path[:0] = [str(Path(__file__).parents[2])]

from minivan.evaluate.dataset import class_folder  # noqa: E402
from minivan.output import replacing  # noqa: E402
from minivan.predict import find_images  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Put photos into WebDataset shards.")
    parser.add_argument("photos", type=Path, help="a folder of photos, or of class folders")
    parser.add_argument("shards", type=Path, help="the folder for 000000.tar, 000001.tar, ...")
    parser.add_argument("--photos", dest="count", type=int, default=1000, metavar="N", help="in a shard (default: 1000)")
    args = parser.parse_args()
    found = find_images([args.photos])
    if wrong := [image for image in found if image.fault or image.member]:
        raise SystemExit(f"{wrong[0].name}: {wrong[0].fault or 'lies in an archive: give a folder'}")
    if args.count < 1:
        raise SystemExit("a shard has at least one photo")
    args.shards.mkdir(parents=True, exist_ok=True)
    names = [Path(image.name) for image in found]
    for number, start in enumerate(range(0, len(names), args.count)):
        with replacing(args.shards / f"{number:06}.tar") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for name, data in samples(args.photos, names[start : start + args.count]):
                header = tarfile.TarInfo(name)  # without times and owners: the same photos make the same bytes
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))
    print(f"{args.shards}: {len(names):,} photos in {-(-len(names) // args.count):,} shards")


def samples(root: Path, photos: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield what a shard holds: each photo and, behind it, its class where it has one. Names are keys with endings."""
    used: set[str] = set()
    for photo in photos:
        inside = PurePosixPath(os.path.relpath(photo, root).replace(os.sep, "/"))
        key = wanted = str(inside.with_name(inside.stem.replace(".", "_")))
        number = 1
        while key in used:  # a.jpg and a.png would be one sample
            number += 1
            key = f"{wanted}-{number}"
        used.add(key)
        yield f"{key}{inside.suffix.lower()}", photo.read_bytes()
        if label := class_folder(str(inside)):
            yield f"{key}.cls", label.encode()


if __name__ == "__main__":
    main()
