# %% [markdown]
# # 3. From 21 x 21 to large kernel attention
#
# After these ten minutes you will be able to
#
# - derive the three steps of LKA from one large kernel, and its cost from two letters, K and d;
# - find the best d by setting a derivative to zero, and say which choice of the paper it rests on;
# - say what the three steps cannot do, and how large their reach really is.
#
# ## Predict, then run
#
# The paper builds a kernel that it calls 21 x 21 from two: a 5 x 5, and after it a 7 x 7 whose weights lie 3 apart. How many
# positions wide is the square that one output of the two really reads? Write your guess into the next cell; a later cell sets
# it beside what is measured.

# %%
prediction = None  # positions

# %%
import matplotlib.pyplot as plt
import numpy as np

import minivan
from minivan import lka, paths
from minivan.geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")

# %% [markdown]
# ## One large kernel, three prices
#
# A 21 x 21 kernel sees far. **Dense**, it has C x C x 441 weights. MobileNet's way is a depthwise 21 x 21 and a
# pointwise. **LKA** splits the depthwise kernel once more: a small one of side 2d - 1, and one of side K/d, rounded up,
# whose weights are d apart. (Any side from d on would bridge the gaps; 2d - 1 is the paper's choice.)

# %%
print("   C        dense   MobileNet       LKA")
for C in (32, 64, 128, 256, 512):
    counts = lka.dense_parameters(C, 21), lka.mobilenet_parameters(C, 21), lka.lka_parameters(C, 21, 3)
    print("{:4d} {:12,d} {:11,d} {:9,d}".format(C, *counts))
assert (LARGE_KERNEL, CONV_SPATIAL.dilation) == (21, 3)
assert (CONV0.side, CONV_SPATIAL.side) == (lka.local_side(3), lka.dilated_side(21, 3))

# %% [markdown]
# These are the numbers of the paper (Guo et al. 2022, section 3.1).
#
# ## Which d?
#
# Per channel the two depthwise kernels have $\lceil K/d \rceil^2 + (2d-1)^2$ weights. Without the rounding this is a
# smooth curve; at its lowest point its slope $-2K^2/d^3 + 4(2d-1)$ is zero, that is, $4d^4 - 2d^3 = K^2$.

# %%
K = LARGE_KERNEL
best = lka.continuous_best_dilation(K)
print(f"slope zero at d = {best:.4f}: 4 d^4 - 2 d^3 = {4 * best**4 - 2 * best**3:.3f} = {K}^2")
print("best whole d for K = 7, 14, 21, 28, 35:", [lka.best_dilation(K) for K in (7, 14, 21, 28, 35)])

fig, axes = plt.subplots(1, 2, figsize=(9, 3))
d = np.linspace(0.9, 8.2, 200)
axes[0].plot(d, lka.smooth_spatial_weights(LARGE_KERNEL, d), color="gray", label="near kernel 2d - 1 wide, K/d not rounded")
whole = range(1, 9)
axes[0].plot(whole, [lka.spatial_weights(LARGE_KERNEL, d) for d in whole], "o", label="near kernel 2d - 1 wide, K/d rounded up")
axes[0].plot([best], [lka.smooth_spatial_weights(LARGE_KERNEL, best)], "D", label="slope zero")
axes[0].plot(whole, [lka.tiling_weights(LARGE_KERNEL, d) for d in whole], "s--", label="near kernel d wide, K/d rounded up")
axes[0].set(xlabel="d", ylabel="weights per channel", title=f"K = {LARGE_KERNEL}", ylim=(0, 460))
axes[0].legend(fontsize=9)
sides = range(3, 100, 2)
axes[1].plot(sides, [K * K for K in sides], label="one depthwise K x K")
axes[1].plot(sides, [lka.spatial_weights(K, lka.best_dilation(K)) for K in sides], label="LKA's pair, best d")
axes[1].set(xlabel="K", ylabel="weights per channel", title="growing kernels: slope 2, slope 1", xscale="log", yscale="log")
axes[1].legend(fontsize=9)
plt.show()

# %% [markdown]
# ## What d = 3 rests on
#
# The dashed line. Were the near kernel only d wide, its squares would lie side by side, each position with exactly one way
# to the output, and the cost would be $\lceil K/d \rceil^2 + d^2$:

# %%
for d in (3, 4, 5):
    near, far = lka.local_side(d), lka.dilated_side(LARGE_KERNEL, d)
    print(f"d = {d}: near {near} x {near}: {lka.spatial_weights(LARGE_KERNEL, d):3d} weights", end="   ")
    print(f"near {d} x {d}: {lka.tiling_weights(LARGE_KERNEL, d)} weights, {d * far} positions across, one way each")
print("cheapest d with near kernels d wide:", lka.best_dilation(LARGE_KERNEL, lka.tiling_weights))

# %% [markdown]
# So d = 3 wins because the paper lets neighbouring squares overlap. Whether the overlap is worth its weights, no count can
# say: only training both would.
#
# For large K the best d is near $\sqrt{K/2}$, where both terms are about $2K$. So the pair grows **in proportion to
# K**, the single kernel with its square: twice as wide costs twice as much, not four times. Check it: weights divided
# by K.

# %%
for K in (21, 51, 101, 501, 1001):
    print(f"K = {K:4d}: pair / K = {lka.spatial_weights(K, lka.best_dilation(K)) / K:.2f}   one kernel / K = {K}")

# %% [markdown]
# ## 21 is really 23
#
# The dilated kernel spans d (ceil(K/d) - 1) + 1 = 19 positions, and at both ends stands a 5 x 5 that sees two further.
# The two kernels compose into **one**, which can be written out. This is a trained one, from the default weights:

# %%
model = minivan.load(engine="numpy")
unit = f"{paths.block(1, 0)}.{paths.UNIT}"
conv0, far = (model.tensors[f"{unit}.{name}.weight"].astype(float) for name in ("conv0", "conv_spatial"))
apart = CONV_SPATIAL.dilation
whole = lka.equivalent_kernel(conv0, far, apart)
print(f"{conv0.shape[2:]} and {far.shape[2:]}, {apart} apart, make {whole.shape[2:]}:", end=" ")
print(f"{conv0[0].size + far[0].size} numbers decide {whole[0].size} weights per channel")

strength = np.abs(whole).sum(axis=(0, 1))
outside = 1 - strength[1:-1, 1:-1].sum() / strength.sum()
print(f"share of the weight outside the nominal 21 x 21: {100 * outside:.1f} %")
energy = (whole**2).sum(axis=(0, 1))
outside = 1 - energy[8:15, 8:15].sum() / energy.sum()
print(f"share of the squared weights outside the middle 7 x 7: {100 * outside:.0f} %", end="; ")
print(f"if all were equal: {100 * (1 - 7 * 7 / energy.size):.0f} %")

compare(prediction, whole.shape[-1], "positions wide")

# %% [markdown]
# Here are two of them, the strongest, each with the two that it is made of, drawn on the same 23 x 23 positions: the near
# kernel, the far one with its weights where they lie, and their product. Red weights are positive, blue ones negative, white
# is zero.

# %%
side, k = whole.shape[-1], CONV0.side
energy_of = (whole[:, 0] ** 2).sum(axis=(1, 2))
fig, axes = plt.subplots(2, 3, figsize=(9, 6.2))
for row, channel in zip(axes, np.argsort(-energy_of)[:2], strict=True):
    near, spread = np.zeros((side, side)), np.zeros((side, side))
    middle = (side - k) // 2
    near[middle : middle + k, middle : middle + k] = conv0[channel, 0]
    spread[k // 2 : side - k // 2 : apart, k // 2 : side - k // 2 : apart] = far[channel, 0]
    for ax, values in zip(row, (near, spread, whole[channel, 0]), strict=True):
        ax.imshow(values, cmap="RdBu_r", vmin=-abs(values).max(), vmax=abs(values).max())
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"channel {channel}")
for ax, title in zip(axes[0], (f"{k} x {k}", f"7 x 7, {apart} apart", f"the product, {side} x {side}"), strict=True):
    ax.set_title(title)
plt.show()

taps = [(i * apart, j * apart) for i, j in np.ndindex(*far.shape[2:])]
stamped = np.zeros_like(whole[:, 0])
for (top, left), weight in zip(taps, far[:, 0].reshape(len(far), -1).T, strict=True):
    stamped[:, top : top + k, left : left + k] += weight[:, None, None] * conv0[:, 0]
print(f"{len(taps)} copies of the near kernel, each times one weight of the far kernel, added up:", end=" ")
print(f"largest difference from the product {abs(stamped - whole[:, 0]).max():.0e}")

# %% [markdown]
# The product is the near kernel's pattern, stamped 49 times, each time brighter, darker or turned over, as the far kernel says;
# where copies overlap they add up. **That is all the pair can make.** Most of its strength lies outside of the middle, though
# the middle has more than its share: training favoured it, and did not shrink the kernels to it. (How much the far weights are
# worth to the answer is another question: `ablations/` takes them away.)
#
# ## What it cannot make
#
# How much does one lose? Take four kernels of 23 x 23 and let the pair imitate each as well as it can. With one kernel
# of the pair fixed, the best other one is a linear least-squares problem; so fix them in turns.


# %%
def imitate(target, rounds=20):
    """Find conv0 (5 x 5) and far (7 x 7) whose composition is closest to a 23 x 23 target."""
    far = np.ones((1, 1, CONV_SPATIAL.side, CONV_SPATIAL.side))
    for _ in range(rounds):
        near = solve(target, lambda basis, far=far: lka.equivalent_kernel(basis, far, apart), CONV0.side)
        far = solve(target, lambda basis, near=near: lka.equivalent_kernel(near, basis, apart), CONV_SPATIAL.side)
    return lka.equivalent_kernel(near, far, apart)[0, 0]


def solve(target, compose, side):
    """Least squares: the composition is linear in the kernel that is not fixed."""
    columns = [compose(one.reshape(1, 1, side, side)).ravel() for one in np.eye(side * side)]
    best, *_ = np.linalg.lstsq(np.array(columns).T, target.ravel(), rcond=None)
    return best.reshape(1, 1, side, side)


reach = CONV0.reach + CONV_SPATIAL.reach  # 11: the composed kernel is 23 wide
axis = np.arange(-reach, reach + 1)
radius = np.hypot(*np.meshgrid(axis, axis))
targets = {
    "a blur": np.exp(-((radius / 6) ** 2)),
    "a ring": np.exp(-(((radius - 7) / 2) ** 2)),
    "stripes": np.cos(axis * 2 * np.pi / 6)[:, None] * np.exp(-((radius / 8) ** 2)),
    "noise": np.random.default_rng(0).standard_normal((len(axis), len(axis))),
}
fig, axes = plt.subplots(2, 4, figsize=(8, 4.2))
for column, (name, target) in zip(axes.T, targets.items(), strict=True):
    copy = imitate(target)
    captured = 1 - ((target - copy) ** 2).sum() / (target**2).sum()
    print(f"{name:8s} {100 * captured:5.1f} % captured")
    for ax, k in zip(column, (target, copy), strict=True):
        ax.imshow(k, cmap="RdBu_r", vmin=-abs(target).max(), vmax=abs(target).max())
        ax.axis("off")
    column[0].set_title(name)
    column[1].set_title(f"the pair: {100 * captured:.0f} %")
plt.show()

# %% [markdown]
# 74 numbers instead of 529, and the blur loses nearly nothing, while noise is mostly lost. Smooth, wide patterns are
# what a large kernel is wanted for; for fine detail there are the small kernels. That is the bet of the paper.
#
# ## Stripes at the border
#
# One 23 x 23 convolution and the two steps agree **exactly** in the interior, on whole numbers (others are rounded). At
# the border they do not, since each of the two steps puts its own zeros around its input. Feed a map of ones, and
# subtract:

# %%
ones = np.ones((1, 40, 40), int)
near, wide = (np.ones((1, 1, kernel.side, kernel.side), int) for kernel in (CONV0, CONV_SPATIAL))
difference = (lka.one_step(ones, near, wide, apart) - lka.two_steps(ones, near, wide, apart))[0]
print("positions that differ:", np.count_nonzero(difference), "of", difference.size)
print("rows that differ, in the middle column:", np.flatnonzero(difference[:, 20]).tolist())
assert (difference != 0).tolist() == lka.border_affected(40, 40, LARGE_KERNEL, apart).tolist()

fig, ax = plt.subplots(figsize=(4.4, 3.4))
shown = ax.imshow(difference, vmin=0)
ax.set(xticks=[], yticks=[], title="one step minus two steps")
fig.colorbar(shown, ax=ax)
plt.show()

# %% [markdown]
# A tartan, though every input and every weight is 1. The dilated weights are 3 apart, and only the two rows just
# outside the map hold something to lose: from row 0 the weights step over them (they land on -3, -6, -9), from row 1
# one lands on -2.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_03.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 3.1** You want K = 35. Which d is best (the smaller, if two tie), and how many positions wide is the
# square that an output then really reads?

# %%
my_answer = None  # two numbers: (d, positions)
check(3, 1, my_answer)

# %% [markdown]
# **Exercise 3.2** How many multiply-adds does one LKA (K = 21, d = 3, C = 64) take on a 56 x 56 map? How many a dense
# 21 x 21?

# %%
my_answer = None  # two numbers: (LKA, dense)
check(3, 2, my_answer)

# %% [markdown]
# **Exercise 3.3** For which rows from the top does a pair with d = 2 (a 3 x 3, then an 11 x 11 with its weights 2
# apart) differ from its composed kernel?

# %%
my_answer = None  # a list of rows, counted from 0
check(3, 3, my_answer)
