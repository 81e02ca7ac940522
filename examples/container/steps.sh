#!/bin/sh
# The steps that make an image, one by one: the Dockerfile runs them, and so does a test where there is no container engine.
#
#     steps.sh install PREFIX SOURCE   minivan in a virtual environment of its own at PREFIX, from a checkout or a wheel
#     steps.sh warm PREFIX             every kernel compiled, in PREFIX/kernels, readable for all users
#     steps.sh check PREFIX PHOTO      what the finished image must do, as whoever runs it: answer, having compiled nothing
set -eu
step=$1 prefix=$2
export MINIVAN_CACHE="$prefix/kernels"
# The image runs on processors that nobody knows yet: compile for all that have AVX2, not for the one that builds it.
if [ "$(uname -m)" = x86_64 ]; then
    export NUMBA_CPU_NAME="${NUMBA_CPU_NAME:-x86-64-v3}" NUMBA_CPU_FEATURES="${NUMBA_CPU_FEATURES:-+avx2,+fma}"
fi

case $step in
install)
    python3 -m venv "$prefix"
    "$prefix/bin/pip" install --no-cache-dir --quiet --disable-pip-version-check "$3"
    chmod -R go-w,a+rX "$prefix"
    ;;
warm)
    "$prefix/bin/python" -m minivan warmup
    ;;
check)
    "$prefix/bin/python" -W error -m minivan classify --engine fast "$3"
    "$prefix/bin/python" -W error -m minivan classify --engine exact --json "$3"
    ;;
*)
    echo "steps.sh: no step is called $step" >&2
    exit 2
    ;;
esac
