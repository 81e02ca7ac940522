# %% [markdown]
# # 7. Making it fast: from loops to fused SIMD tiles
#
# After these ten minutes you will be able to
#
# - say why the same multiply-adds can take a second or a millisecond;
# - measure a kernel in GFLOP/s, and say how far it is from the most that the machine can do;
# - name the three ideas behind minivan's `fast` engine.
#
# Cells that measure time print other numbers on every machine and in every run; the ratios tell the story.
#
# ## Predict, then run
#
# Three nested loops multiply two matrices, and a compiler makes machine code of them. Now the two inner loops are swapped:
# the same multiplications, the same additions, in another order. How many times as fast is it? Write your guess into the next
# cell; a later cell sets it beside what is measured on your machine.

# %%
prediction = None  # times as fast

# %%
import os
import time

for library in ("OPENBLAS", "MKL", "OMP"):  # NumPy's matrix product on one core too; read when NumPy is imported
    os.environ[f"{library}_NUM_THREADS"] = "1"

import matplotlib.pyplot as plt
import numba
import numpy as np

import minivan
from minivan import lka, summary
from minivan.fast.peak import numpys, ours
from minivan.geometry import CONV_SPATIAL
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")
numba.set_num_threads(1)  # one core everywhere: what counts here is how well it is used

# %% [markdown]
# ## One layer, four ways
#
# A pointwise convolution does four fifths of VAN's work, so let us take one: `fc1` of the first block, 32 channels to
# 256 on a 56 x 56 map.

# %%
C_IN, C_OUT, POSITIONS = 32, 256, 56 * 56
rng = np.random.default_rng(0)
x = rng.standard_normal((POSITIONS, C_IN)).astype(np.float32)
w = rng.standard_normal((C_IN, C_OUT)).astype(np.float32)
multiply_adds = POSITIONS * C_IN * C_OUT
print(f"{multiply_adds:,} multiply-adds, two floating-point operations each")


# %%
def python_loops(x, w):
    out = np.empty((len(x), w.shape[1]), np.float32)
    for p in range(len(x)):
        for o in range(w.shape[1]):
            total = np.float32(0)
            for k in range(w.shape[0]):
                total += x[p, k] * w[k, o]
            out[p, o] = total
    return out


compiled_loops = numba.njit(python_loops)  # the same source, compiled


@numba.njit
def other_order(x, w):
    """The two inner loops swapped: the innermost now runs along a row of w and a row of out."""
    out = np.zeros((len(x), w.shape[1]), np.float32)
    for p in range(len(x)):
        for k in range(w.shape[0]):
            for o in range(w.shape[1]):
                out[p, o] += x[p, k] * w[k, o]
    return out


# %% timing
def seconds(form, x, w, repeats=5):
    form(x[:16], w)  # compiles
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        form(x, w)
        times.append(time.perf_counter() - start)
    return min(times)


rungs = {
    "Python loops": seconds(python_loops, x[:8], w, 1) * POSITIONS / 8,  # eight positions, scaled up
    "the same, compiled": seconds(compiled_loops, x, w),
    "inner loops swapped": seconds(other_order, x, w),
    "NumPy's matrix product": seconds(np.matmul, x, w),
}
for name, spent in rungs.items():
    print(f"{name:24s} {1000 * spent:10.2f} ms {2e-9 * multiply_adds / spent:9.3f} GFLOP/s")
compare(prediction, rungs["the same, compiled"] / rungs["inner loops swapped"], "times as fast, the loops swapped")

fig, ax = plt.subplots(figsize=(8, 2.4))
ax.barh(range(len(rungs)), [2e-9 * multiply_adds / spent for spent in rungs.values()], color="#0072B2")
ax.set_yticks(range(len(rungs)), rungs)
ax.invert_yaxis()
ax.set(xscale="log", xlim=(1e-3, 1e3), xlabel="GFLOP/s on one core, logarithmic")
plt.show()

# %% [markdown]
# From the first bar to the last it is a factor of ten thousand or more, and **every bar does the same
# multiplications**. The first step is the interpreter's overhead. The second is stranger: only the order of two loops
# changed. In the old order each turn needs the sum of the turn before; the processor must wait for every single
# addition. In the new order 256 sums grow side by side, and the compiler puts 4, 8 or 16 of them into one **SIMD**
# instruction. The last step keeps a tile of sums in registers, so that most instructions multiply instead of loading
# and storing. That is the first idea of minivan's fast engine (`minivan/fast/simd.py`).
#
# All forms give the same numbers, up to the rounding of lesson 1:

# %%
exact = x.astype(float) @ w.astype(float)
for form in (compiled_loops, other_order, np.matmul):
    name = getattr(form, "__name__", "compiled")
    print(f"{name:16s} largest error {abs(form(x, w) - exact).max() / abs(exact).max():.0e} of the largest output")

# %% [markdown]
# ## The work one need not do
#
# The second idea costs nothing at all. Look at LKA's 7 x 7 kernel with dilation 3 on the last stage's 7 x 7 map: how
# many of its 49 weights meet the map from each position, and how many multiply zeros?

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
for ax, side in zip(axes, (28, 14, 7), strict=True):
    line = lka.taps_on_map(CONV_SPATIAL.side, CONV_SPATIAL.dilation, side)
    count = np.multiply.outer(line, line)
    wasted = 100 * (1 - count.mean() / CONV_SPATIAL.taps)
    print(
        f"{side:2d} x {side:2d} map: {count.mean():4.1f} of {CONV_SPATIAL.taps} weights meet it, {wasted:.0f} % would be wasted"
    )
    shown = ax.imshow(count, vmin=0, vmax=CONV_SPATIAL.taps)
    ax.set(xticks=[], yticks=[], title=f"{side} x {side}: {count.mean():.1f} of {CONV_SPATIAL.taps}")
fig.colorbar(shown, ax=axes, label="weights on the map", shrink=0.8)
plt.show()

# %% [markdown]
# In the last stage **nearly nine of ten products have a factor of zero**, and a convolution that pads first does them
# all. minivan works out beforehand which weights meet the map and visits no others (`minivan/fast/depthwise.py`).
#
# ## The memory one need not touch
#
# The third idea is about the widest map of the network, the hidden map of the first MLP (lesson 5). A processor core
# multiplies faster than memory delivers, so a map should be used while it is still in the **cache**, about a mebibyte
# close to the core.

# %%
hidden = 8 * 32 * POSITIONS * 4
print(f"hidden map: {hidden / 2**20:.2f} MiB; written by fc1, read and written by dwconv and by GELU, read by fc2")
print(f"traffic if each step goes through memory: {6 * hidden / 2**20:.1f} MiB in each of the three blocks of stage 1")
rows = 2**20 // (8 * 32 * 56 * 4)
print(f"rows of it that fit into 1 MiB: {rows} of 56")

# %% [markdown]
# So the fast engine takes a **band** of rows through fc1, dwconv, GELU and fc2, then the next band; only the narrow
# maps at both ends ever reach memory (`minivan/fast/network.py`). BatchNorm costs nothing either: it is folded into the
# weights of the next layer.
#
# ## The whole network
#
# Three engines, the same weights, the same image at 224 x 224, one core:

# %% timing
image = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
models = {engine: minivan.load(engine=engine) for engine in ("numpy", "exact", "fast")}
total = summary.totals(summary.summarise(models["fast"].config, 224, 224))[1]
times = {}
for engine, model in models.items():
    model(image)  # compiles, where there is something to compile and nothing in the cache
    turns = []
    while len(turns) < 5 and sum(turns) < 1:  # the fastest of five, but no more than a second of waiting
        start = time.perf_counter()
        model(image)
        turns.append(time.perf_counter() - start)
    times[engine] = min(turns)
    print(f"{engine:6s} {1000 * times[engine]:8.1f} ms {2e-9 * total / times[engine]:7.1f} GFLOP/s")

fig, ax = plt.subplots(figsize=(8, 2))
ax.barh(range(3), [1000 * t for t in times.values()], color=["#8A8A8A", "#0072B2", "#D55E00"])
ax.set_yticks(range(3), times)
ax.invert_yaxis()
ax.set(xscale="log", xlim=(1, None), xlabel="milliseconds for one image, logarithmic")
plt.show()

# %%
fast, truth = models["fast"](image)[0], models["exact"](image)[0]
print(f"fast against exact: largest difference {abs(fast - truth).max() / abs(truth).max():.0e} of the largest logit")
print("same answer:", fast.argmax() == truth.argmax())

# %% [markdown]
# ## How far from the top?
#
# A number in GFLOP/s says little by itself: how many could there be? minivan measures that, too. `minivan.fast.peak` runs
# matrix products with nothing to do but multiply, the fast engine's own (`ours`) on matrices that stay in the cache and NumPy's
# (`numpys`) on large ones, and keeps the best of several tries. Our **peak** is the most that this core has been seen to do in
# all of this lesson. How much of it each of our forms reaches is its distance to the top.

# %% timing
reached = {name: 2e-9 * multiply_adds / spent for name, spent in rungs.items()}
reached |= {f"the network, {engine}": 2e-9 * total / spent for engine, spent in times.items()}
peak = max(ours(1), numpys(), *reached.values())
print(f"peak of one core, measured: {peak:.0f} GFLOP/s")
for name, gflops in reached.items():
    print(f"{name:24s} {gflops:9.3f} GFLOP/s = {100 * gflops / peak:8.3f} % of the peak")

fig, ax = plt.subplots(figsize=(8, 3))
colours = ["#0072B2"] * len(rungs) + ["#D55E00"] * len(times)
ax.barh(range(len(reached)), reached.values(), color=colours)
ax.axvline(peak, color="black", linestyle=":")
ax.text(peak, -0.8, "peak", ha="center")
ax.set_yticks(range(len(reached)), reached)
ax.invert_yaxis()
ax.set(xscale="log", xlim=(1e-3, 1e3), xlabel="GFLOP/s on one core, logarithmic; blue: one layer, orange: the network")
plt.show()

# %% [markdown]
# The network stays below the peak: not all of it is matrix products. A tenth of B0's multiply-adds are depthwise (lesson 2),
# which do little with each number that they fetch, and GELU and the norms take time without counting here at all. The Python
# loops at the other end leave the processor idle but for about one part in ten thousand.
#
# All of it is Python, compiled by Numba. `exact` is slower on purpose: it keeps one written order of every sum and
# double precision, so that its bits are the same everywhere. `python -m minivan bench` measures your machine;
# `benchmarks/` compares with PyTorch, ONNX Runtime and OpenVINO.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_07.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 7.1** How many of the 49 weights of LKA's dilated kernel meet a 2 x 2 map, on average?

# %%
my_answer = None  # a number
check(7, 1, my_answer)

# %% [markdown]
# **Exercise 7.2** VAN-B0 takes 864,224,000 multiply-adds for an image at 224 x 224. How many milliseconds is that at
# 100 GFLOP/s?

# %%
my_answer = None  # milliseconds
check(7, 2, my_answer)

# %% [markdown]
# **Exercise 7.3** A stage-2 block of B0 has a hidden map of 512 channels on 28 x 28, in 32-bit numbers. How many of
# its rows fit into 1 MiB?

# %%
my_answer = None  # a whole number of rows
check(7, 3, my_answer)
