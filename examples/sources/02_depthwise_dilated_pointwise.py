# %% [markdown]
# # 2. Depthwise, dilated, pointwise
#
# After these ten minutes you will be able to
#
# - tell the three cheap relatives of a convolution apart, and say what each of them reads;
# - compute what each costs, in weights and in multiply-adds;
# - show what a dilated kernel is blind to, and how to cure it.
#
# ## Predict, then run
#
# VAN is a network for images, named after a large kernel. What per cent of its multiply-adds does it spend in kernels of 1 x 1,
# which see no neighbour at all? Write your guess into the next cell; a later cell sets it beside what is counted.

# %%
prediction = None  # per cent of the multiply-adds

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from minivan import lka, paths, variants
from minivan.geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL, stage_sizes
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")

# %% [markdown]
# ## Channels change the price
#
# A map in a network has many **channels**: at every position it holds C numbers, not one. An ordinary, **dense**
# convolution reads all C of them at every place its kernel covers, and has its own weights for each of the C new
# channels: C x C x K x K.
#
# - **depthwise**: each channel has one kernel and sees only itself. C x K x K weights.
# - **pointwise**: a 1 x 1 kernel. It sees every channel, but no neighbour. C x C weights.
# - **dilated**: the weights of any of these are set d apart. The reach grows, the number of weights does not.

# %%
C, K, d = 64, CONV_SPATIAL.side, CONV_SPATIAL.dilation  # VAN's own: 7 x 7, 3 apart
weights = {
    f"dense {K} x {K}": C * C * K * K,
    f"depthwise {K} x {K}": C * K * K,
    f"depthwise {K} x {K}, {d} apart": C * K * K,
    "pointwise": C * C,
}
reach = dict(zip(weights, (K, K, d * (K - 1) + 1, 1), strict=True))
for name, count in weights.items():
    print(f"{name:26s} {count:8,d} weights, spans {reach[name]:2d} x {reach[name]:2d}")

# %% [markdown]
# On a map with H x W positions every weight works once at each position, so the multiply-adds are the weights times H x
# W.
#
# Now the pictures: which positions does the output in the middle read?

# %%
masks = {
    f"depthwise {K} x {K}": lka.tap_offsets(K),
    f"{d} apart": lka.tap_offsets(K, d),
    "pointwise": lka.tap_offsets(1),
}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, (name, offsets) in zip(axes, masks.items(), strict=True):
    read = np.zeros((21, 21))
    read[np.ix_(offsets + 10, offsets + 10)] = 1
    ax.imshow(read, cmap="Blues", vmin=0, vmax=1.3)
    ax.set_title(f"{name}: {int(read.sum())} read")
    ax.set_xticks(np.arange(22) - 0.5, [])
    ax.set_yticks(np.arange(22) - 0.5, [])
    ax.tick_params(length=0)
    ax.grid(color="white", linewidth=0.7)
    ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# ## What a dilated kernel cannot see
#
# It looks as if the dilated kernel got its large reach for free. It did not: there are holes. Take the outputs in every
# third row and column. Together they read only every third pixel of every third row. So let us replace **all the
# others** with noise:

# %%
cat = np.asarray(Image.open("cat.jpg").convert("L").crop((100, 10, 340, 250)).resize((120, 120)), float)
rng = np.random.default_rng(3)
noisy = rng.integers(0, 256, cat.shape).astype(float)
noisy[::d, ::d] = cat[::d, ::d]
print(f"pixels replaced: {100 * (1 - 1 / d**2):.0f} %")

kernel = rng.integers(-2, 4, (1, 1, K, K))
dilated = [lka.depthwise(picture[None], kernel, d)[0] for picture in (cat, noisy)]
same = dilated[0][::d, ::d] == dilated[1][::d, ::d]
print(f"outputs in every third row and column that changed: {np.count_nonzero(~same)} of {same.size}")

fig, axes = plt.subplots(1, 4, figsize=(9, 2.6))
pictures = (cat, noisy, dilated[0][::d, ::d], dilated[1][::d, ::d])
titles = ("the cat", "8 of 9 pixels noise", "output for the cat", "output for the noise")
for ax, picture, title in zip(axes, pictures, titles, strict=True):
    ax.imshow(picture, cmap="gray")
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# Nobody would find a cat in the second picture. To these outputs it is **the same picture** as the first, to the last
# digit. A dilated convolution alone has nine such blind grids, which never hear of each other.
#
# The cure: blur first. A small dense-in-space kernel, 5 x 5 for d = 3, carries every pixel's news to a place that is
# read.

# %%
near = CONV0.side
assert near == lka.local_side(d)
local = rng.integers(1, 4, (1, 1, near, near))
both = [lka.two_steps(picture[None], local, kernel, d)[0] for picture in (cat, noisy)]
changed = both[0][::d, ::d] != both[1][::d, ::d]
print(f"with a {near} x {near} before it, outputs that changed: {np.count_nonzero(changed)} of {changed.size}")
print("ways from each pixel of a row to the output:", lka.footprint(LARGE_KERNEL, d)[11][:12], "...")

# %% [markdown]
# Every pixel has at least one way to the output, and that is the pair LKA is made of. The width 5, which is 2d - 1, is the
# paper's choice, not a necessity: squares 3 wide, side by side, reach every pixel once. Where 5 x 5 squares overlap, a
# pixel has two ways along an axis. Lesson 3 asks what that choice decides.
#
# ## Where the multiply-adds go
#
# One would think that a network for images spends its time looking at neighbourhoods. Count them in VAN-B0, the smallest
# of the family, at 224 x 224. (A **patch embedding** is a dense convolution with a stride; four of them make the map
# smaller on its way through the network, see lesson 5.)

# %%
config = variants.variant("b0")
sizes = stage_sizes(config.stages, 224, 224)
spent = {}
for name, shape in variants.parameter_shapes(config):
    if len(shape) == 4:
        stage = paths.stage_of(name)
        side = shape[-1]
        kind = f"depthwise {side} x {side}" if shape[1] == 1 and side > 1 else "pointwise" if side == 1 else "patch embedding"
        spent[kind] = spent.get(kind, 0) + np.prod(shape) * np.prod(sizes[stage - 1])
total = sum(spent.values())
for kind, count in sorted(spent.items(), key=lambda item: -item[1]):
    print(f"{kind:18s} {count / 1e6:6.1f} million multiply-adds, {100 * count / total:4.1f} %")
compare(prediction, float(100 * spent["pointwise"] / total), "% in kernels of 1 x 1")

fig, ax = plt.subplots(figsize=(8, 2.4))
for row, (kind, count) in enumerate(sorted(spent.items(), key=lambda item: item[1])):
    ax.barh(row, 100 * count / total, color="#0072B2" if kind != "pointwise" else "#D55E00")
    ax.text(100 * count / total + 1, row, kind, va="center")
ax.set(yticks=[], xlabel="per cent of VAN-B0's multiply-adds", xlim=(0, 105))
plt.show()

# %% [markdown]
# Four fifths of the work are pointwise: kernels that see **no neighbour at all**. All the depthwise kernels together cost
# a tenth, and the two of the large kernel, 5 x 5 and dilated 7 x 7, hardly more than half of that. That is the economy
# on which VAN is built, and why its large kernels are affordable.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_02.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 2.1** For C = 64, how many times as many weights has a dense 7 x 7 as a depthwise 7 x 7 followed by a
# pointwise?

# %%
my_answer = None  # a number
check(2, 1, my_answer)

# %% [markdown]
# **Exercise 2.2** A 3 x 3 kernel shall span 9 x 9 positions. Which dilation does that?

# %%
my_answer = None  # a whole number
check(2, 2, my_answer)

# %% [markdown]
# **Exercise 2.3** With dilation 2, what share of the pixels could one replace by noise without changing the outputs
# in every second row and column?

# %%
my_answer = None  # a share, from 0 to 1
check(2, 3, my_answer)
