# %% [markdown]
# # 10. Half precision and eight bits
#
# After these ten minutes you will be able to
#
# - round numbers to float16, bfloat16 and int8 in a few lines, and say what each format loses;
# - let the oracle name the first layer that differs, and the layers that cost most;
# - say which layers of VAN are sensitive, and why.
#
# ## Predict, then run
#
# A phone multiplies 8-bit numbers several times as fast as 32-bit ones, but there are only 255 of them. Let us round
# every weight and every number in between to 8 bits, all numbers of a map to multiples of one step. Of twenty views of
# five photos, how many keep their answer? Write your guess into the next cell; a later cell sets it beside what is
# measured.

# %%
prediction = None  # of twenty views

# %%
import re
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minivan
from minivan import image, oracle
from minivan.lesson import check, compare
from minivan.oracle.recorded import read
from minivan.van import VAN

plt.style.use("minivan.mplstyle")
work = Path(tempfile.mkdtemp())
model = minivan.load(engine="fast")  # with a hook, the operators of `exact` compute
card = model.card

# %% [markdown]
# ## Three ways to have fewer bits
#
# A 32-bit floating-point number has a sign, 8 bits for its size (a power of two) and 23 bits for its digits.
# **float16** keeps 5 and 10 of these, **bfloat16** 8 and 7: more digits, or more room. **int8** has no size at all: a
# whole number from -127 to 127, times one **step** for the whole array, which has to be so large that the largest
# number fits. We do not need the hardware: we keep 32-bit numbers, and round each to one that the format has.


# %%
def to_float16(x):
    return x.astype(np.float16).astype(np.float32)


def to_bfloat16(x):
    """Keep the upper 16 bits; half of the last one is added before, so that this rounds to the nearest, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & 0xFFFF0000).astype(np.uint32).view(np.float32)


def to_int8(x, axis=None):
    """Round to multiples of a step, the largest of |x| over `axis` being 127 of them; None is one step for all."""
    step = abs(x).max(axis=axis, keepdims=True) / 127
    return (np.round(x / np.where(step == 0, 1, step)) * step).astype(np.float32)


formats = {"float16": to_float16, "bfloat16": to_bfloat16, "int8": to_int8}
some = np.array([40, 1.01, 0.1, 0.001], np.float32)
print("       ", *(f"{value:10.5g}" for value in some))
for name, rounding in formats.items():
    print(f"{name:8s}", *(f"{value:10.5g}" for value in rounding(some)))

# %%
sizes = np.geomspace(1e-3, 40, 2000).astype(np.float32)
fig, ax = plt.subplots(figsize=(8, 3.2))
for name, rounding in formats.items():
    ax.loglog(sizes, abs(rounding(sizes) - sizes) / sizes + 1e-7, ".", markersize=2)
    worst = (abs(rounding(sizes) - sizes) / sizes).reshape(40, 50).max(1)
    ax.loglog(sizes[::50], worst, color=ax.lines[-1].get_color(), label=name)
ax.set(xlabel="a number, beside others of up to 40", ylabel="error relative to it", ylim=(1e-6, 2))
ax.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1.0))
plt.show()

# %% [markdown]
# A float errs by the same share of every number, small or large. An int8 errs by the same **amount**: beside a 40 it
# knows the numbers around 1 to one part in six, and those below 0.157 are all zero. What an int8 costs is decided by the
# largest number in the array. Keep that in mind; it is the whole lesson.
#
# ## Weights, then everything
#
# Twenty views: each of the five photos as it is and a quarter larger, and the mirror images of both.


# %%
def views(name):
    photo, side = image.decode(f"{name}.jpg"), card.preprocessing.crop
    for size in (side, side * 5 // 4):
        seen = image.centre_crop(image.resize(photo, size), side)
        x = image.normalise(seen, card.preprocessing.mean, card.preprocessing.std)
        yield from (x, x[:, :, ::-1])


x = np.stack([view for name in ("cat", "coffee", "rocket", "astronaut", "four") for view in views(name)])
truth = model(x)


def decibels(signal, noisy):
    """Signal over error: 20 dB are a factor of ten."""
    noise = np.square(noisy - signal, dtype=float).sum()
    return 10 * np.log10(np.square(signal, dtype=float).sum() / noise) if noise else np.inf


def kept(logits):
    return int((logits.argmax(1) == truth.argmax(1)).sum())


# %% [markdown]
# Weights are replaced in the dictionary that a model is made of. What is between the layers goes through a **hook**
# (lesson 4): what it returns takes the array's place. Biases and norms, which are few, keep their 32 bits, as they do
# on most machines. "Per channel" gives each kernel, and each channel of a map, a step of its own.


# %%
def with_weights(rounding):
    tensors = {name: rounding(w) if w.ndim > 1 else w for name, w in model.tensors.items()}
    return VAN(model.config, tensors, "fast", card)


def one_step(a):
    """One step for each photo's map."""
    return to_int8(a, tuple(range(1, a.ndim)))


def step_per_channel(a):
    return to_int8(a, (2, 3)) if a.ndim == 4 else one_step(a)


ways = {  # of rounding the weights, and the numbers between layers
    "float16": (to_float16, to_float16),
    "bfloat16": (to_bfloat16, to_bfloat16),
    "int8, one step": (to_int8, one_step),
    "int8, per channel": (one_step, step_per_channel),  # a kernel's first axis is the channel that it makes
}
keeps = {}
print(f"{'':18s} {'weights alone':>22s} {'and all in between':>26s}")
for name, (of_weights, of_maps) in ways.items():
    rounded = with_weights(of_weights)
    alone, everything = rounded(x), rounded(x, hook=lambda path, a, of_maps=of_maps: of_maps(a))
    keeps[name] = kept(everything)
    print(f"{name:18s} {decibels(truth, alone):7.1f} dB, {kept(alone)} of {len(x)}", end="      ")
    print(f"{decibels(truth, everything):7.1f} dB, {keeps[name]} of {len(x)}")
compare(prediction, keeps["int8, one step"], f"of {len(x)} views keep their answer")

# %% [markdown]
# Float16 leaves the weights as they are, to the last bit: the bundled file stores them in 16 bits already. Bfloat16 has
# fewer digits, and shows it, but no answer changes. In eight bits the numbers **in between** cost more than the weights do,
# and a step for each channel helps both.
#
# ## What the oracle says
#
# The oracle (lesson 8) has the 32-bit truth of every layer. A rounded network is a port like any other: its arrays are
# saved, and compared. Told that it ought to compute in 32 bits, the oracle names the first layer that differs. Left to
# itself, it sees what the numbers are, and allows what the format costs.

# %%
photo = image.prepare("coffee.jpg", card.preprocessing)[None]
trace = oracle.record(minivan.load(engine="exact"), photo)


def ported(rounding):
    """Save what every layer gives when all of them are rounded, and read it as the oracle reads a port."""
    arrays = {}

    def hook(path, array):
        arrays[path] = rounding(array)
        return arrays[path]

    model(photo, hook=hook)
    np.savez(work / "port.npz", **arrays)
    return read(work / "port.npz")


for name, rounding in formats.items():
    port = ported(rounding)
    strict = oracle.compare(trace, port, asked=oracle.Asked(precision="float32"))
    fair = oracle.compare(trace, port, asked=oracle.Asked(precision=name))
    print(f"{name:9s} as float32: {strict.first_divergence.path}   as {name}: {fair.first_divergence or 'no layer'}", end="   ")
    print(f"(it takes the numbers for {oracle.compare(trace, port).precision.word})")

# %% [markdown]
# The first layer that differs is the first that is rounded: no surprise. More useful is the question which layers
# **cost** most. For a port in 8 bits the oracle answers it: it measures what each layer adds by itself, and computes
# what the last layer would gain if that one had stayed in float.

# %%
oracle.write(trace, work / "trace.safetensors")
judged = oracle.open_baseline(work / "trace.safetensors").judge(ported(to_int8), oracle.Asked(precision="int8"))
print(f"{judged.budget.path}: {judged.budget.final_db:.1f} dB with every layer in eight bits")
for cost in judged.budget.costs:
    print(f"  {cost.spared_db:.1f} dB without the rounding of {cost.path}, whose own is {cost.own_db:.1f} dB")

# %% [markdown]
# Noisy layers all, and all from one corner: the MLP's GELU and the depthwise kernel before it. But no single layer is to
# blame for much. So let us round one **kind** of layer at a time, in all blocks at once.
#
# ## Which layers are sensitive?

# %%
five, maps = x[::4], {}
logits = model(five, hook=lambda path, array: maps.update({path: array}))


def kind(path):
    return re.sub(r"\d+(\.\d+)?", "*", path, count=1).replace("spatial_gating_unit", "lka")


found = {}
for each in dict.fromkeys(map(kind, maps)):
    arrays = [a for path, a in maps.items() if kind(path) == each]
    noisy = model(five, hook=lambda path, a, each=each: one_step(a) if kind(path) == each else None)
    peak = np.mean([abs(a).max() / np.sqrt(np.square(a, dtype=float).mean()) for a in arrays])
    found[each] = peak, np.mean([decibels(a, to_int8(a)) for a in arrays]), decibels(logits, noisy)
print(f"{'rounded':28s} {'largest / typical':>18s} {'its own dB':>11s} {'logits dB':>10s}")
for each, (peak, own, answer) in sorted(found.items(), key=lambda item: item[1][2]):
    print(f"{each:28s} {peak:18.1f} {own:11.1f} {answer:10.1f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
marked = {"block*.mlp.act": "GELU of the MLP", "block*.attn.lka": "the gate, u x a", "block*": "a block's output"}
curve = np.linspace(4, 24, 50)
axes[0].plot(curve, 20 * np.log10(127 * np.sqrt(12) / curve), color="gray", zorder=0)
for each, (peak, own, answer) in found.items():
    colour = "#D55E00" if each in marked else "#0072B2"
    axes[0].plot(peak, own, "o", color=colour)
    axes[1].plot(own, answer, "o", color=colour)
    if each in marked:
        axes[0].annotate(marked[each], (peak, own), xytext=(-8, -12), textcoords="offset points", ha="right", fontsize=9)
        axes[1].annotate(marked[each], (own, answer), xytext=(7, -3), textcoords="offset points", fontsize=9)
axes[0].set(xlabel="largest number / typical one", ylabel="its own dB", title="outliers make the noise", ylim=(25, 44))
axes[1].set(xlabel="its own dB", ylabel="dB in the logits", title="but noise is not cost")
plt.show()

# %% [markdown]
# On the left, each kind of layer is a dot, and the grey line is what theory says: a step is the largest number over
# 127, and rounding to steps errs by the step over $\sqrt{12}$. The dots lie near the line: **how much larger the
# largest number is than a typical one decides how noisy a layer is in eight bits**. Two products stand out, GELU's (x
# times a share of x) and the gate's (u times a). Products make outliers.
#
# On the right, noise does not yet say what a layer costs. The gate is among the noisiest and costs little, while a
# block's output has less noise and costs much more. Why?
#
# ## Layer scales shield, the residual stream does not

# %%
scales = np.concatenate([abs(t) for name, t in model.tensors.items() if "layer_scale_1" in name])
print(f"layer scale of the attention: {np.median(scales):.2f} in the middle, {scales.max():.2f} at most")
for each, what in (("block*.attn", "attention, before its layer scale"), ("block*.layer_scale_1", "the sum, after it")):
    print(f"{what:34s} {found[each][1]:.1f} dB of its own, {found[each][2]:.1f} dB in the logits")

# %% [markdown]
# The same number of decibels at both places, and more than ten of them apart in the logits. Whatever goes wrong
# **inside** the attention is multiplied by the layer scale, a small number, before it joins the sum that runs from
# block to block. That sum, the residual stream, has no such shield: what is rounded off there is lost to all that
# follows. Keep it in more bits, if anything.
#
# ## LayerNorm lifts what is quiet
#
# LayerNorm divides each position by its own spread. One step for a whole map is coarse for a quiet position, and the
# division lifts that error to the size of all others:

# %%
last = f"block1.{model.config.depths[0] - 1}"  # what the first LayerNorm reads
quiet = maps[last].std(1).argsort(axis=None)
before, after = maps[last], {}
model(five, hook=lambda path, a: after.update({path: a}) if path == "norm1" else one_step(a) if path == last else None)
error = abs(after["norm1"] - maps["norm1"]).mean(1).ravel()
tenth = len(quiet) // 10
spread = before.std(1).ravel()
for name, places in (("quietest", quiet[:tenth]), ("loudest", quiet[-tenth:])):
    print(f"{name:8s} tenth of positions: spread {spread[places].mean():.2f}, error behind {error[places].mean():.4f}")

# %% [markdown]
# ## One channel spoils it for all
#
# And the outliers: whose are they? Here are the largest numbers of the channels behind the GELU of the first block,
# sorted.

# %%
act = "block1.0.mlp.act"
largest = np.sort(abs(maps[act]).max((0, 2, 3)))[::-1]
print(f"the loudest channel reaches {largest[0]:.1f}, the one in the middle {np.median(largest):.1f}")
for name, rounding in (("one step", one_step), ("per channel", step_per_channel)):
    noisy = model(five, hook=lambda path, a, rounding=rounding: rounding(a) if path.endswith("mlp.act") else None)
    print(f"all GELUs of the MLP, {name:12s} {decibels(logits, noisy):.1f} dB in the logits")

fig, ax = plt.subplots(figsize=(8, 2.8))
ax.bar(range(len(largest)), largest, width=1, color="#0072B2")
ax.axhline(largest[0] / 127, color="#D55E00")
ax.text(len(largest), 4, "one step of eight bits", color="#D55E00", ha="right")
ax.set(xlabel="channels, the loudest first", ylabel="largest number", title="one channel sets the step for all")
plt.show()

# %% [markdown]
# The middle channel has only a dozen steps of its own where it could have 127, because a few of the 256 channels are loud,
# and one above all. With a step for each channel most of the loss is gone. Here that is easily said, for we know the
# numbers before we choose the steps; a machine chooses them beforehand, from other photos, and clips what it did not
# expect.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is
# wrong. Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_10.py`; minivan's
# tests check it.

# %% [markdown]
# **Exercise 10.1** Write the rounding for any number of bits: `quantise(x, bits)` returns the array x rounded to whole
# multiples of one step, where the largest absolute value is the largest whole number that a signed integer of so many
# bits has (127 for 8 bits).


# %%
def quantise(x, bits):
    return None  # an array of x's shape


check(10, 1, quantise)

# %% [markdown]
# **Exercise 10.2** Every whole number up to which one, that one included, is a number of float16, with its 10 bits of
# digits? And of bfloat16, with 7? (The first digit, a 1, is not stored.)

# %%
my_answer = None  # two numbers: (float16, bfloat16)
check(10, 2, my_answer)

# %% [markdown]
# **Exercise 10.3** The largest number of a map is 20 times its root mean square. It is rounded to 8 bits with one step.
# Rounding errs by the step over the square root of 12, as a root mean square. How many decibels does the signal stand
# above the error?

# %%
my_answer = None  # decibels
check(10, 3, my_answer)
