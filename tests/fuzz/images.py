"""A coverage-guided run over the walks of `minivan.image` and the decoders behind them: by hand, with atheris (Python 3.11).

    pip install atheris numpy 'pillow>=12.2'
    PYTHONPATH=.:tests python tests/fuzz/images.py [--decode] CORPUS [-max_total_time=3600] [further arguments of libFuzzer]

Without `--decode` only the headers are walked over, which is the code that is seen to be covered; with it, what is within the
limits is decoded too, but by no other process. `tests/image/test_damaged.py` replays the corpus that is kept in
`tests/corpus/images`.
"""

import sys
from dataclasses import replace

import atheris

with atheris.instrument_imports(include=["minivan.image"]):
    from minivan.image import Bands, bounds, examine

from support.pictures import valid_files

DECODE = "--decode" in sys.argv
LARGEST = 4_000_000  # pixels that are decoded here: the run is about many files


def one(data):
    for channels in (3, 4):
        judge(data, channels)


def judge(data, channels):
    try:
        examined = examine(data, channels)
        look = examined.look
        assert 0 < look.pixels <= bounds.LARGEST_PIXELS and look.held <= bounds.LARGEST_HELD
        assert sum(map(len, look.parts)) <= 2 * len(data) + 8 * look.pixels + 1024
        if DECODE and look.pixels <= LARGEST and not look.apart and examined.stored is None:
            picture = replace(examined, look=replace(look, apart=False)).decode()
            assert isinstance(picture, Bands) or picture.mode == "RGB"
    except bounds.ImageError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 500


def main():
    arguments = [argument for argument in sys.argv if argument != "--decode"]
    folder = next((argument for argument in arguments[1:] if not argument.startswith("-")), None)
    if folder:
        from pathlib import Path

        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, data in valid_files().items():
            Path(folder, name.replace(" ", "-")).write_bytes(data)
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
