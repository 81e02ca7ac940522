# %% [markdown]
# # 4. The gate: attention without softmax
#
# After these ten minutes you will be able to
#
# - say what "attention" means in VAN, and how it differs from a transformer's;
# - show by a measurement that LKA does what no convolution can;
# - compute why self-attention gets dear on large maps and LKA does not.
#
# ## Predict, then run
#
# "Attention" is a number by which a gate multiplies what comes in. What per cent of these numbers, in the trained network, are
# negative? Write your guess into the next cell; a later cell sets it beside what is measured.

# %%
prediction = None  # per cent of the attention values

# %%
import matplotlib.pyplot as plt
import numpy as np

import minivan
from minivan import image, lka, reference
from minivan.geometry import CONV0, CONV_SPATIAL, LARGE_KERNEL
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")
model = minivan.load(engine="numpy")
card = model.card
x = image.prepare("coffee.jpg", card.preprocessing)[None]

# %% [markdown]
# ## The whole of it
#
# From a map u, LKA computes another map a of the same shape, the **attention**, and returns u times a, number by
# number. Nothing else: no softmax, no sigmoid. In minivan the line reads `hook("", u * weights)`. Let us catch both
# maps in all blocks; a **hook** is a function of ours that is called with everything that the network computes on its way.

# %%
seen = {}
logits = model(x, hook=lambda path, array: seen.update({path: array[0]}))
attention = {path.split(".spatial")[0]: array for path, array in seen.items() if path.endswith("spatial_gating_unit.conv1")}
every = np.concatenate([a.ravel() for a in attention.values()])
print(f"{len(attention)} blocks, {every.size:,} attention values from {every.min():.1f} to {every.max():.1f}")
print(f"above 1: {100 * (every > 1).mean():.0f} %   between 0 and 1: {100 * ((every >= 0) & (every <= 1)).mean():.0f} %")
compare(prediction, float(100 * (every < 0).mean()), "% are negative")

fig, ax = plt.subplots(figsize=(8, 2.8))
ax.hist(every, bins=np.linspace(-8, 8, 129), color="#0072B2")
ax.axvspan(0, 1, color="#E69F00", alpha=0.4, zorder=0)
ax.text(1.15, 0.92, "all that a sigmoid could say", transform=ax.get_xaxis_transform(), color="#9A6A00")
ax.set(xlabel="attention value", yticks=[], title="what the gates multiply by")
plt.show()

# %% [markdown]
# The word "attention" suggests a share, a probability. But about half of the values are **negative**: those gates do
# not dim what came in, they turn it over. And many are larger than 1 and amplify. A sigmoid's gate lives in the yellow
# strip alone.
#
# ## Where does it look?
#
# The attention of one channel of the first block, at each position. Red multiplies by a positive number, blue by a
# negative one.

# %%
first = attention["block1.0.attn"]
lifted, turned = (np.maximum(sign * first, 0).mean(axis=(1, 2)) for sign in (1, -1))
channel = int(np.minimum(lifted, turned).argmax())
u, a = seen["block1.0.attn.activation"][channel], first[channel]

fig, axes = plt.subplots(1, 4, figsize=(9.5, 2.5))
axes[0].imshow(image.view(image.decode("coffee.jpg"), card.preprocessing))
for ax, values, title in zip(axes[1:], (u, a, u * a), ("u", "a, attention", "u x a"), strict=True):
    shown = ax.imshow(values, cmap="RdBu_r", vmin=-abs(values).max(), vmax=abs(values).max())
    fig.colorbar(shown, ax=ax, shrink=0.7)
    ax.set_title(title)
axes[0].set_title("the photo")
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## What no convolution can do
#
# Twice the input gives twice the output: that holds for every convolution, and for any stack of them (leave the biases
# out). For LKA it does not, since u is multiplied by something made of u. Measure it: scale the input by t, and see how
# the output grows.


# %%
def without_bias(name):
    return {"weight": model.tensors[f"block1.0.attn.spatial_gating_unit.{name}.weight"]}


def convolved(u):
    C, padding, dilation = u.shape[1], CONV_SPATIAL.padding, CONV_SPATIAL.dilation
    near = reference.conv2d(u, **without_bias("conv0"), padding=CONV0.padding, groups=C)
    far = reference.conv2d(near, **without_bias("conv_spatial"), padding=padding, dilation=dilation, groups=C)
    return reference.conv2d(far, **without_bias("conv1"))


def self_attended(u):
    """One head, without projections: every position is a mean of all, weighted by the softmax of the scores."""
    tokens = u.reshape(u.shape[1], -1).T  # (positions, C)
    scores = tokens @ tokens.T / np.sqrt(u.shape[1])
    return reference.softmax(scores) @ tokens


u = seen["block1.0.attn.activation"][None]
scales = np.array([1, 2, 4, 8, 16.0])
forms = {"three convolutions": convolved, "LKA: u times them": lambda u: u * convolved(u), "self-attention": self_attended}
fig, ax = plt.subplots(figsize=(6.5, 3))
for name, form in forms.items():
    sizes = np.array([np.linalg.norm(form(t * u)) for t in scales])
    print(f"{name:20s} twice the input gives {sizes[1] / sizes[0]:.2f} times the output")
    ax.loglog(scales, sizes / sizes[0], "o-", label=name)
ax.set(xlabel="input times", ylabel="output times", title="slope 1, slope 2")
ax.set_xticks(scales, [f"{t:g}" for t in scales])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# (The biases were left out. With them the trained unit's answer to twice its input is not exactly four times as large:
# `python -m minivan lka` measures it.)
#
# Without biases LKA answers a stronger signal with the square of it: the gate makes it a polynomial of degree two, and n gates
# on top of one another make one of degree 2^n. Self-attention, for all its fame, soon runs along slope 1: softmax's weights add
# up to 1, so its output can never leave the range of its input. Nothing of the kind bounds LKA. That its numbers stay in
# hand is a matter of training, and of the BatchNorm before every attention, which learns the scale of what comes in.
#
# ## The price, as the map grows

# %%
print("  map       positions   self-attention / VAN's   scores kept")
for side in (7, 14, 28, 56, 112, 224):
    positions = side * side
    ours = lka.lka_attention_multiply_adds(64, LARGE_KERNEL, CONV_SPATIAL.dilation, positions)
    ratio = lka.self_attention_multiply_adds(64, positions) / ours
    print(f"{side:3d} x {side:3d} {positions:10,d} {ratio:17.1f} {4 * positions**2 / 2**20:18,.1f} MiB")

# %% [markdown]
# Self-attention is charged its four C x C projections here, and VAN's attention the two pointwise layers around LKA. On a
# 7 x 7 map the two are not far apart. At 224 x 224 self-attention takes hundreds of times the work, and one head's table of
# scores alone would fill gigabytes. That is why transformers for images cut a photo into patches of some 16 x 16 pixels first.
# VAN starts at a stride, too, but one of 4: its first maps have 16 times as many positions.
#
# ## Does the network need its gates?
#
# What a hook returns takes the place of what it saw. So the gates can be held open (attention 1), or the product
# replaced by a sum, in a network that was trained with the product.


# %%
def answer(hook=None):
    p = reference.softmax(model(x, hook=hook).astype(float))[0]
    return f"{card.label(int(p.argmax())).short} ({p.max():.2f})"


def held_open(path, array):
    return np.ones_like(array) if path.endswith("spatial_gating_unit.conv1") else None


kept = {}


def added(path, array):
    kept[path.rsplit(".", 1)[-1]] = array
    return kept["activation"] + kept["conv1"] if path.endswith("spatial_gating_unit") else None


def squeezed(path, array):
    return 1 / (1 + np.exp(-array)) if path.endswith("spatial_gating_unit.conv1") else None


print("as trained:               ", answer())
print("gates held open:          ", answer(held_open))
print("u + a instead of u x a:   ", answer(added))
print("sigmoid on the attention: ", answer(squeezed))

# %% [markdown]
# A network trained with the product does not survive without it. The sigmoid, which still multiplies, leaves it the
# answer to this easy photo, less sure of it. (Networks *trained* with a sum or a sigmoid do much better: the paper reports
# 74.6 and 75.2 % against 75.4 % on ImageNet. `ablations/` has the whole table.)
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_04.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 4.1** u is [1, 2, -1] and the attention is [0.5, -1, 3]. What comes out of the gate? What would come out
# with a sigmoid on the attention?

# %%
my_answer = None  # two lists of three: (with the gate, with a sigmoid)
check(4, 1, my_answer)

# %% [markdown]
# **Exercise 4.2** From which side of a square map on does self-attention take more multiply-adds than even a dense 21
# x 21 kernel, for C = 64?

# %%
my_answer = None  # a whole number
check(4, 2, my_answer)

# %% [markdown]
# **Exercise 4.3** How many times as large is the output of a stack of three bias-free gates (each u times a
# convolution of u) when the input is doubled?

# %%
my_answer = None  # a whole number
check(4, 3, my_answer)
