# %% [markdown]
# # 5. A block and a stage, shapes all the way
#
# After these ten minutes you will be able to
#
# - follow an array through a block of VAN and say its shape at every step;
# - find the residual connections, one of which the paper's figure leaves out;
# - tell which part of the network takes the parameters, the time, and the memory.
#
# ## Predict, then run
#
# Half of each block is attention, after which the network is named; the other half is an MLP, which looks at each position
# nearly by itself. What per cent of the multiply-adds does the MLP take? Write your guess into the next cell; a later cell sets
# it beside what is counted.

# %%
prediction = None  # per cent of the multiply-adds

# %%
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import minivan
from minivan import geometry, image, paths, reference, summary, variants
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")
model = minivan.load(engine="numpy")
x = image.prepare("coffee.jpg", model.card.preprocessing)[None]
print(x.shape)

# %% [markdown]
# Arrays are (N, C, H, W): images, channels, height, width. Here is one block as the model itself draws it
# (`draw_diagrams.py`), for a photo of 224 x 224. Orange is large kernel attention, and a green line carries an earlier
# array past some steps. **GELU** bends each number by itself: it keeps large ones and dims those below zero, and without
# such a bend between them two convolutions would be no more than one. **BatchNorm** and **LayerNorm** shift and scale
# numbers to a common size; the **MLP** is the right half, which works on each position nearly by itself.

# %%
Image("diagrams/block.png", width=760)

# %% [markdown]
# ## Every array of the first block
#
# A **hook** is called with the output of every operator, under the name that its weights have in the checkpoint.

# %%
seen = {}
logits = model(x, hook=lambda path, array: seen.update({path: array}))
print(f"{'image':52s} {x.shape}")
for path, array in seen.items():
    if path.startswith(("patch_embed1", "block1.0", "norm1")):
        print(f"{path:52s} {array.shape}")

# %% [markdown]
# The block changes no shape: 32 channels go in and 32 come out, whatever happens between. Only from `fc1` to `fc2` is it
# wider, by the **MLP ratio**, here 8.
#
# ## The residuals, checked
#
# Three times an earlier array is added again: a **residual** connection, which lets the network pass on what it has no
# reason to change. We need not believe the drawing. If it is right, these sums must hold:


# %%
def largest_difference(a, b):
    return f"largest difference {abs(a - b).max():.1e}"


t, b = model.tensors, "block1.0"
scale_1, scale_2 = (t[f"{b}.layer_scale_{i}"][:, None, None] for i in (1, 2))
print("attention + its input: ", largest_difference(seen[f"{b}.attn"], seen[f"{b}.attn.proj_2"] + seen[f"{b}.norm1"]))
after_attention = seen["patch_embed1.norm"] + scale_1 * seen[f"{b}.attn"]
print("x + scale x attention: ", largest_difference(seen[f"{b}.layer_scale_1"], after_attention))
print("that + scale x mlp:    ", largest_difference(seen[b], after_attention + scale_2 * seen[f"{b}.mlp.fc2"]))

# %% [markdown]
# The first of the three, *inside* the attention, is not in the paper's figure; it is in the authors' code only. Someone
# who builds VAN from the figure gets everything right, and then this:


# %%
def as_in_the_figure(path, array):
    """Leave the inner residual out: attn becomes proj_2 alone."""
    kept[path] = array
    return kept[f"{path}.proj_2"] if path.endswith(".attn") else None


kept = {}
wrong = model(x, hook=as_in_the_figure)
names = ("the network", "without the inner residual")
for name, row in zip(names, reference.softmax(np.concatenate([logits, wrong]).astype(float)), strict=True):
    print(f"{name:28s} {model.card.label(int(row.argmax())).short} ({row.max():.2f})")
print(f"the logits change by {100 * np.linalg.norm(wrong - logits) / np.linalg.norm(logits):.0f} %")

fig, ax = plt.subplots(figsize=(6.5, 2.6))
order = logits[0].argsort()[::-1]
ax.plot(logits[0][order], label="the network")
ax.plot(wrong[0][order], ".", label="without the inner residual")
ax.set(xlabel="classes, the most probable first", ylabel="logit")
ax.legend()
plt.show()

# %% [markdown]
# One missing addition per block changes every logit, and yet there is no error message, every shape fits, and an easy
# photo gets a plausible answer. A wrong network can look right for a long time. Lesson 8 is about finding such faults.
#
# ## A stage, and four of them
#
# A stage is a **patch embedding** (a convolution with a stride, which makes the map smaller and the channels more),
# some blocks, and a LayerNorm. For VAN-B0 at 224 x 224:

# %%
config = variants.variant("b0")
rows = summary.summarise(config, 224, 224)
print(f"{'':8s} {'output':>14s} {'blocks':>7s} {'parameters':>12s} {'multiply-adds':>14s}")
for row in rows:
    print(f"{row.name:8s} {row.output!s:>14s} {row.blocks:7d} {row.parameters:12,d} {row.multiply_adds:14,d}")
parameters, multiply_adds = summary.totals(rows)
print(f"{'':31s} {parameters:12,d} {multiply_adds:14,d}")

# %% [markdown]
# All seven variants of the paper come out of the same arithmetic:

# %%
for name, shape in variants.VARIANTS.items():
    parameters, multiply_adds = summary.totals(summary.summarise(shape, 224, 224))
    print(f"{name}  {parameters:12,d} parameters  {multiply_adds / 1e9:7.3f} G multiply-adds")

# %% [markdown]
# ## Three different winners
#
# Which part of B0 is the largest? It depends on what you count.

# %%
sizes = geometry.stage_sizes(config.stages, 224, 224)
parts = {"patch embedding": [0, 0, 0], "attention": [0, 0, 0], "MLP": [0, 0, 0], "head": [0, 0, 0]}
for name, shape in variants.parameter_shapes(config):
    if name.endswith(("running_mean", "running_var")):
        continue
    part = "MLP" if ".mlp." in name else "attention" if ".attn." in name else "head" if "head" in name else "patch embedding"
    if "layer_scale" in name or ".norm" in name or name.startswith("norm"):
        continue  # normalisation: less than half a per cent
    stage = paths.stage_of(name)  # none for the head
    positions = np.prod(sizes[stage - 1]) if stage else 1
    parts[part][0] += np.prod(shape)
    if len(shape) > 1:
        parts[part][1] += np.prod(shape) * positions
        parts[part][2] += shape[0] * positions  # numbers written: every output channel at every position

fig, ax = plt.subplots(figsize=(8, 2.6))
left = np.zeros(3)
totals = np.sum(list(parts.values()), axis=0)
for name, counts in parts.items():
    share = 100 * np.array(counts) / totals
    print("{:16s} {:5.1f} % of the parameters {:5.1f} % of the work {:5.1f} % of the memory".format(name, *share))
    ax.barh(range(3), share, left=left, label=name)
    left += share
ax.set_yticks(range(3), ["parameters", "multiply-adds", "numbers written"])
ax.invert_yaxis()
ax.set(xlim=(0, 100), xlabel="per cent of VAN-B0")
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.45, 1.0), fontsize=10)
plt.show()

compare(prediction, float(100 * parts["MLP"][1] / totals[1]), "% of the multiply-adds in the MLP")
widest = config.mlp_ratios[0] * config.dims[0] * np.prod(sizes[0])
print(f"the photo has {3 * 224 * 224:,} numbers; the hidden map of the first MLP has {widest:,}")

# %% [markdown]
# A network named after its attention spends most of everything on the **MLP**. And the largest map in it is no photo
# and no attention, but the hidden map of the very first MLP: more than five times the photo, written and read again in
# three blocks. A fast engine must keep that map from ever reaching memory; lesson 7 does.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_05.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 5.1** A photo of 320 x 256 (width x height) goes into VAN-B0. What shapes, (C, H, W), do the four stages
# put out?

# %%
my_answer = None  # a list of four shapes (C, H, W)
check(5, 1, my_answer)

# %% [markdown]
# **Exercise 5.2** How many parameters has one block of stage 1 of B0 (C = 32, MLP ratio 8)? BatchNorm has 2 per
# channel, each convolution also a bias per output channel, and there are two layer scales.

# %%
my_answer = None  # a whole number
check(5, 2, my_answer)

# %% [markdown]
# **Exercise 5.3** Which variant is the first with more than ten times B0's multiply-adds?

# %%
my_answer = None  # a variant's name, such as "b1"
check(5, 3, my_answer)
