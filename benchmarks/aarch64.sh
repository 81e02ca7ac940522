#!/usr/bin/env bash
# The recorded bits on AArch64, emulated: Debian's Python for arm64 and PyPI's arm64 wheels of this installation's own versions
# of NumPy, Numba and llvmlite, run by QEMU. Arguments go to tests/support/reproduce.py (default: minute tiny bundled b0). Needs
# Debian as root, `apt-get install qemu-user-static debootstrap`, Python 3.11 and its pip. Ten minutes, most of them
# Numba compiling in emulation.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=${WORK:-/var/tmp/minivan-aarch64}
python=${PYTHON:-python3}
mkdir -p "$work"
if [ ! -e "$work/ready" ]; then
    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 bookworm "$work/debian"
    for package in "$work"/debian/var/cache/apt/archives/*.deb; do
        dpkg-deb --extract "$package" "$work/debian"
    done
    for name in numpy numba llvmlite pillow platformdirs; do
        version=$("$python" -c "import importlib.metadata as m; print(m.version('$name'))")
        "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
            --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
            --platform manylinux2014_aarch64 --dest "$work/wheels" "$name==$version"
    done
    for wheel in "$work"/wheels/*.whl; do
        "$python" -m zipfile --extract "$wheel" "$work/site"
    done
    touch "$work/ready"
fi
[ $# -gt 0 ] || set -- minute tiny bundled b0
export PYTHONPATH="$work/site" NUMBA_CACHE_DIR="$work/cache" NUMBA_NUM_THREADS=2 PYTHONDONTWRITEBYTECODE=1
exec qemu-aarch64-static -L "$work/debian" "$work/debian/usr/bin/python3.11" "$root/tests/support/reproduce.py" "$@"
