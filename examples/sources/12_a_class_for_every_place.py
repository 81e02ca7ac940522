# %% [markdown]
# # 12. A class for every place: segmentation
#
# After these ten minutes you will be able to
#
# - say how four maps of different fineness become one mask, and split the mask's scores exactly into what each stage adds;
# - take a part of a network away, and read what that says and what it does not;
# - say why the finest map alone is not enough, and what a class activation map lacks to be a mask.
#
# ## Predict, then run
#
# A network has a say for every fourth pixel of a photo from each of its four stages: stage 1 sees finely, stage 4 in blocks
# of 32 x 32 pixels. Now what stage 4 adds is taken away, and nothing else. Which per cent of the mask's pixels change their
# class? Write your guess into the next cell.

# %%
prediction = None  # per cent

# %%
import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from PIL import Image

import minivan
from minivan import explain, fpn, image, paths, reference
from minivan.hooks import Hook
from minivan.lesson import check, compare
from minivan.segmentation.files import load

sys.path.insert(0, "ablations")
import which_stage  # what was measured on street scenes

plt.style.use("minivan.mplstyle")
model = load(engine="numpy")  # the bundled head on the bundled backbone
classes = model.card.classes
palette = np.array(model.card.colours(len(classes)), np.uint8)
photo = Image.open("china.jpg").convert("RGB").resize((384, 256), Image.Resampling.BICUBIC)
x = image.normalise(photo, model.card.preprocessing.mean, model.card.preprocessing.std)[None]
print(f"the classes of {model.card.name}: {', '.join(classes)}")

# %% [markdown]
# ## Four maps, one mask
#
# The backbone is the VAN of the lessons before, and stays as it is. On its four maps stands a **feature pyramid**
# (Kirillov et al. 2019), small beside it:
#
# - the **neck** brings each map to the same number of channels by a 1 x 1 convolution, its **lateral**, and adds each to the
#   next finer one, doubled: coarse maps know what, fine ones know where;
# - the **head** has a **branch** for each map, of 3 x 3 convolutions and doublings, until all have the finest map's size. It
#   adds the four up, and a last 1 x 1 convolution makes a score for each class at each place.
#
# The mask is the class with the highest score, after the scores were brought to the photo's size.

# %%
seen = {}
scores = model(x, hook=lambda path, array: seen.update({path: array}))[0]
for i, path in enumerate(paths.norms(4)):
    print(f"stage {i + 1}: {seen[path].shape[1]:3} channels at {seen[path].shape[2]:2} x {seen[path].shape[3]}", end="")
    print(f"; in the neck {seen[f'neck.fpn_convs.{i}.conv'].shape[1]} channels")
print(f"scores: {len(scores)} classes at {scores.shape[1]} x {scores.shape[2]}")


def mask_of(scores):
    """The likeliest class of each pixel."""
    return reference.upsample_bilinear(scores[None], (photo.height, photo.width))[0].argmax(axis=0)


def shown(ax, mask, title, over=None):
    """Draw a mask in the colours of its classes, or over a picture."""
    colours = palette[mask[::2, ::2]]
    ax.imshow(colours if over is None else (0.45 * over + 0.55 * colours).astype(np.uint8))
    ax.set_title(title, fontsize=10)
    ax.axis("off")


mask = mask_of(scores)
shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
print("area:", ", ".join(f"{classes[k]} {100 * shares[k]:.0f} %" for k in np.argsort(-shares)[:4]))
small = np.asarray(photo.reduce(2))  # half its size is enough to look at
fig, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(small)
axes[0].set_title("china.jpg, by danielbuechele, CC BY 2.0", fontsize=10)
axes[0].axis("off")
shown(axes[1], mask, "its mask", small)
common = [k for k in np.argsort(-shares) if shares[k] > 0.005]
handles = [Patch(color=palette[k] / 255, label=classes[k]) for k in common]
fig.legend(handles=handles, loc="outside lower center", ncols=len(common), fontsize=9, frameon=False)
plt.show()

# %% [markdown]
# It learned its classes from a few hundred street scenes, and knows nothing else: there is no *water* among its classes, so
# the lake has to be something, and is what looks most like it. A mask never says that it does not know.
#
# ## What each stage adds, exactly
#
# After the branches come a sum and a 1 x 1 convolution, and no more: so the score of a class at a place *is* a bias plus four
# numbers, one from each branch. Nothing is estimated here; it is lesson 6's splitting once more.

# %%
last = [f"decode_head.scale_heads.{end}" for end in ("0.0.activate", "1.1", "2.3", "3.5")]  # all but the first end doubled
weight, bias = (model.tensors[f"decode_head.conv_seg.{part}"].astype(float) for part in ("weight", "bias"))
branches = [reference.upsample_bilinear(seen[path], scores.shape[1:])[0] for path in last]
added = np.array([np.einsum("kc,chw->khw", weight[:, :, 0, 0], branch) for branch in branches])  # (4, classes, H, W)
print(f"furthest from the scores: {abs(added.sum(axis=0) + bias[:, None, None] - scores).max():.1e}")

named = classes.index("building")
rest = added - added.mean(axis=1, keepdims=True)  # a score counts beside those of the other classes
fig, axes = plt.subplots(1, 4, figsize=(10, 2.2))
high = abs(rest[:, named]).max()
for i, ax in enumerate(axes):
    drawn = ax.imshow(rest[i, named], cmap="PuOr_r", vmin=-high, vmax=high)
    ax.set_title(f"stage {i + 1}'s branch", fontsize=10)
    ax.axis("off")
fig.colorbar(drawn, ax=axes, shrink=0.7)
plt.show()
size = np.sqrt((rest**2).mean(axis=(1, 2, 3)))
print("size of what each branch adds: " + ", ".join(f"{value:.2f}" for value in size))

# %% [markdown]
# For *building*: orange speaks for it, purple against it, beside the other classes. Coarse branches say what is roughly where,
# in soft blobs; fine ones draw the edges into that.
#
# ## Take one away
#
# First a branch of the head, then a lateral of the neck: without a lateral, its stage says nothing to its own branch, and
# nothing to the finer ones either, into which it would have been added.

# %%
maps = [seen[path] for path in paths.norms(4)]


def without(part, i):
    """The mask when a hook puts zeros in the place of what one lateral, or one branch, gives."""
    gone = f"neck.lateral_convs.{i}.conv" if part == "lateral" else last[i]
    hook = Hook(lambda path, array: 0 * array if path == gone else None)
    return mask_of(fpn.segment(reference, hook, maps, model.parameters, model.config)[0])


fig, axes = plt.subplots(2, 4, figsize=(10, 4))
changed = {}
for part, row in zip(("lateral", "branch"), axes, strict=True):
    for i, ax in enumerate(row):
        other = without(part, i)
        changed[part, i] = 100 * (other != mask).mean()
        shown(ax, other, f"without {part} {i + 1}: {changed[part, i]:.0f} % change")
plt.show()
compare(prediction, changed["branch", 3], "% of the pixels change without branch 4")

# %% [markdown]
# One photo proves little. The same on every third of CamVid's test scenes, which people labelled pixel by pixel. **mIoU** is
# the usual measure: for each class the pixels that are both of it and called it, divided by those that are either; then the
# mean over classes, so that a pole counts as much as the sky.

# %%
measured = which_stage.read()
print(f"{measured['scenes']} scenes   mIoU    right pixels")
for name, figures in measured["taken away"].items():
    print(f"{name:18} {figures['miou']:5.1f} %   {figures['pixels']:5.1f} %")
trained = measured["taken away"]["as trained"]
fig, ax = plt.subplots(figsize=(9, 2.8))
for k, (part, color) in enumerate((("lateral", "C0"), ("branch", "C1"))):
    lost = [trained["miou"] - measured["taken away"][f"without {part} {i}"]["miou"] for i in range(1, 5)]
    ax.bar(np.arange(4) + 0.4 * k - 0.2, lost, 0.38, color=color, label=f"without its {part}")
ax.set(xticks=range(4), xticklabels=[f"stage {i}" for i in range(1, 5)], ylabel="points of mIoU lost")
ax.legend(frameon=False)
plt.show()
print("which classes lose most without a stage's lateral:")
for i in range(1, 5):
    lost = np.subtract(trained["iou"], measured["taken away"][f"without lateral {i}"]["iou"])
    worst = np.argsort(-lost)[:3]
    print(f"  stage {i}: " + ", ".join(f"{measured['classes'][k]} {lost[k]:.0f} points" for k in worst))

# %% [markdown]
# Thin things and outlines lean on the finest stage. The road, as grey and smooth as much else, leans on the coarsest, which
# sees most of the scene at once.
#
# **What that does not say.** The network was trained with all its parts. What is left after one was taken away was never
# trained to do without it: a large loss says that the part is leaned upon, not that nothing else could have done its work.
#
# ## Why is the finest map not enough?
#
# To ask fairly, train for it. The simplest head there is, a linear classifier of a place's channels, was fitted to the
# training scenes by least squares: on each stage's map by itself, and on several together.

# %%
print("a linear classifier on       mIoU    right pixels   a place sees, at most")
fields = {field.path: field for field in explain.receptive.theoretical(model.backbone.config)}
sides = [fields[path].side for path in paths.last_blocks(model.backbone.config.depths)]
for name, figures in measured["linear"].items():
    stage = int(name.removesuffix(" alone")[-1])
    print(f"{name:22} {figures['miou']:11.1f} %   {figures['pixels']:5.1f} %        {sides[stage - 1]:5} pixels a side")

# %% [markdown]
# A place of stage 1 has the sharpest edges and the least to go by. Large kernels give it a wide view on paper; but its three
# blocks have made 32 numbers of it, from colours and textures, and a grey, smooth patch is road, pavement or sky alike. Deeper
# stages know what a thing is, and no longer where it ends. Neither is enough, and together they are better than any by itself:
# that is what the pyramid is for.
#
# The head's own branch 1 by itself, on our photo, which has lost the coarse stages' word:

# %%
alone = {}
fig, axes = plt.subplots(1, 3, figsize=(10, 2.5))
for ax, i in zip(axes, (0, 1, 3), strict=True):
    alone[i] = mask_of(added[i] + bias[:, None, None])
    shown(ax, alone[i], f"branch {i + 1} alone: {100 * (alone[i] != mask).mean():.0f} % other classes")
plt.show()


def edges(mask):
    """How many neighbouring pixels, side by side, are of different classes."""
    return int((mask[:, 1:] != mask[:, :-1]).sum())


print("borders crossed along the rows: mask", edges(mask), end="; ")
print(", ".join(f"branch {i + 1} alone {edges(each)}" for i, each in alone.items()))

# %% [markdown]
# ## A class activation map is no mask
#
# Lesson 9 drew where a class's score comes from, with no mask in the training at all. Is that not segmentation for nothing?
# The classifier on the same backbone, on the same photo, at the same size: its first answer, and *barn*, the likeliest of its
# classes that is a building.

# %%
classifier = minivan.load(engine="numpy")
settings, names = classifier.card.preprocessing, [label.short for label in classifier.card.labels]
features = classifier.features(image.normalise(photo, settings.mean, settings.std)[None])[-1][0]
head = classifier.tensors["head.weight"].astype(float)
logits = head @ features.mean(axis=(1, 2)) + classifier.tensors["head.bias"]
probabilities = reference.softmax(logits)
building = mask == named
fig, axes = plt.subplots(1, 3, figsize=(9.5, 2.4))
for ax in axes:
    ax.imshow(small.mean(axis=2), cmap="gray")
    ax.axis("off")
for ax, k in zip(axes, (int(logits.argmax()), names.index("barn")), strict=False):
    cam = np.einsum("c,chw->hw", head[k], features)
    wide = reference.upsample_bilinear(cam[None, None], (photo.height, photo.width))[0, 0]
    cuts = [wide > cut for cut in np.linspace(0, wide.max(), 50, endpoint=False)]
    best = max(float((marked & building).sum() / (marked | building).sum()) for marked in cuts)
    print(f"{names[k]}: probability {probabilities[k]:.2f}; {cam.shape[0]} x {cam.shape[1]} places;", end=" ")
    print(f"overlap with the mask's building at the cut that fits best: IoU {best:.2f}")
    ax.imshow(wide[::2, ::2], cmap="PuOr_r", vmin=-abs(wide).max(), vmax=abs(wide).max(), alpha=0.6)
    ax.set_title(f"class activation map: {names[k]}", fontsize=10)
axes[2].imshow(building[::2, ::2], cmap="Oranges", alpha=0.6)
axes[2].set_title("the mask's building", fontsize=10)
plt.show()

# %% [markdown]
# The classifier was asked one question about the whole photo, and temples are not among its classes. Each map is of *one*
# class that somebody names, at the coarsest stage's places; it lights up what speaks for that class, which need not be all of a
# thing, nor only the thing; and where to cut it off nobody says: the cut above was chosen by looking at the answer. A mask has
# to choose among all classes at every pixel. For that it takes the fine stages, and people who have labelled pixels.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_12.py`; minivan's tests check it.
#
# **Exercise 12.1** Of 100 pixels, 60 are sky and all called sky. 30 are road: 10 of them are called sky, 15 road, 5 car. 10
# are car: 5 of them are called road, 5 car. What is the mIoU?

# %%
my_answer = None  # a number from 0 to 1
check(12, 1, my_answer)

# %% [markdown]
# **Exercise 12.2** A photo of 375 rows and 500 columns is padded to multiples of 32 before the network sees it. How many rows
# and columns have the four maps, the finest first?

# %%
my_answer = None  # four pairs (rows, columns) in a list
check(12, 2, my_answer)

# %% [markdown]
# **Exercise 12.3** Write the doubling of one row of numbers as the head does it: bilinear, places compared by their middles
# (`align_corners=False`), and the end's own number beyond the ends.


# %%
def doubled(row):
    return None


check(12, 3, doubled)
