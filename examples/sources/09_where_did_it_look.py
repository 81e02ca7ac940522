# %% [markdown]
# # 9. Where did it look? Grad-CAM, from the derivative to the picture
#
# After these ten minutes you will be able to
#
# - say what a class activation map and Grad-CAM are, number by number, and when they are the same;
# - put such a picture to tests that can embarrass it;
# - ask the better question: why this class, and not its rival?
#
# ## Predict, then run
#
# Here are four photos in one: a cat, a cup, a rocket, an astronaut. The network, which gives one answer for all of it, is
# asked where it sees an Egyptian cat. The cat has a quarter of the picture. How much of the map of "Egyptian cat" will lie on
# that quarter? By chance it would be 0.25. Write your guess into the next cell.

# %%
prediction = None  # a share, from 0 to 1

# %%
import matplotlib.pyplot as plt
import numpy as np

import minivan
from minivan import explain, reference
from minivan.explain import cam, faithfulness, figure
from minivan.lesson import check, compare
from minivan.van import VAN

plt.style.use("minivan.mplstyle")
model = minivan.load(engine="numpy")
names = [label.short for label in model.card.labels]
cat, cup = names.index("Egyptian cat"), names.index("espresso")
seen = explain.look(model, "four.jpg", 192)  # twice as large a side as in the training: each photo has the size of the training
saved = model.arrays(seen.x, ["norm3", "norm4"])  # what a step backward needs, too
logits, features = saved["head"][0], saved["norm4"][0]
channels, rows, columns = features.shape
print(f"answer: {names[logits.argmax()]}; the last map: {channels} channels at {rows} x {columns} places")


def coarse(photo):
    """A photo of 384 pixels a side in 96: enough beside a map of 36 places."""
    return photo.reshape(96, 4, 96, 4, 3).mean(axis=(1, 3)) / 255


def draw(ax, values, title, signed=False, places=6, photo=seen.photo, smooth=False):
    """Draw a map over a photo: each of its places as the square around it, or smoothed."""
    spread = (figure.spread if smooth else figure.squares)(values, 96 / places, 96, 96)
    high = abs(values).max() or 1
    ax.imshow(coarse(photo).mean(axis=2), cmap="gray", vmin=0, vmax=1)
    drawn = ax.imshow(spread, cmap="PuOr_r" if signed else "viridis", vmin=-high if signed else 0, vmax=high, alpha=0.65)
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.75)
    bar.solids.set_alpha(1)
    bar.ax.tick_params(labelsize=8)
    ax.set_title(title, fontsize=10)
    ax.axis("off")


# %% [markdown]
# ## Nudge one place, watch the logit
#
# Which places raised the logit of "Egyptian cat"? Ask as a child would: change the number of one channel at one place of the
# last map by a little, and see by how much the logit changes. How much it changes, divided by the nudge, is the **derivative**.


# %%
def logit_of(features, index):
    """What the network makes of its last map: the mean over places, then the head."""
    pooled = reference.global_average_pool(features[None])
    return reference.linear(pooled, model.tensors["head.weight"], model.tensors["head.bias"])[0, index]


nudge, channel = 0.01, int(abs(model.tensors["head.weight"][cat]).argmax())
for row, column in ((0, 0), (1, 2), (5, 5)):
    nudged = features.astype(float)
    nudged[channel, row, column] += nudge
    change = logit_of(nudged, cat) - logit_of(features.astype(float), cat)
    print(f"channel {channel}, row {row}, column {column}: {change:+.6f} for {nudge}: a derivative of {change / nudge:+.4f}")
weight = model.tensors["head.weight"][cat, channel]
print(f"the class's weight of that channel: {weight:+.4f}; divided by {rows * columns} places: {weight / rows / columns:+.4f}")

# %% [markdown]
# The derivative is the same at every place: the head weighs channels, and the mean treats all places alike. So what makes one
# place count for more than another is only **what the network found there**: features times derivative, summed over channels.
#
# ## The map that needs no derivative
#
# If so, leave the derivative out: apply the head's weights at each place. That is the **class activation map**, CAM. It is no
# approximation of anything: its mean, plus the class's bias, *is* the logit.

# %%
class_map = np.einsum("c,chw->hw", model.tensors["head.weight"][cat].astype(float), features)
print(f"mean of the map and bias: {class_map.mean() + model.tensors['head.bias'][cat]:.5f}   logit: {logits[cat]:.5f}")

# %% [markdown]
# **Grad-CAM** asks for the derivative all the same, so that it works at any layer: average each channel's derivative over the
# places, weigh the channels with that, and cut off what is below zero (a **ReLU**). At the last map it must then be the CAM,
# cut off and divided by the number of places:

# %%
found = model.derive_from(saved, cat, ["norm3", "norm4"])
gradient = {path: found.gradients[path] for path in ("norm3", "norm4")}
grad_cam = cam.gradcam(saved["norm4"], gradient["norm4"])[0]
print(f"furthest apart: {abs(grad_cam - np.maximum(class_map, 0) / class_map.size).max():.1e}")

fig, axes = plt.subplots(1, 4, figsize=(10, 2.5))
axes[0].imshow(coarse(seen.photo))
axes[0].set_title("four.jpg", fontsize=10)
axes[0].axis("off")
draw(axes[1], class_map, "CAM, with its signs", signed=True)
draw(axes[2], grad_cam, "Grad-CAM: no signs")
draw(axes[3], grad_cam, "the same, smoothed", smooth=True)
plt.show()

# %% [markdown]
# Orange speaks for the cat, purple against it; Grad-CAM shows the orange part alone. The network has 6 x 6 places here, and
# the squares say so. The smoothed picture on the right is what one usually sees: it looks as if it knew more, and it does not.
# Everything between the middles of the squares is made up.
#
# Now the prediction. How much of Grad-CAM's map lies on the cat's quarter?


# %%
def share_on(quarter, values):
    """The part of a map that lies on a quarter of the picture: 0 upper left, 1 upper right, 2 and 3 below."""
    drawn = figure.squares(values, 32, 192, 192)
    row, column = divmod(quarter, 2)
    return drawn[96 * row : 96 * (row + 1), 96 * column : 96 * (column + 1)].sum() / drawn.sum()


compare(prediction, float(share_on(0, grad_cam)))

# %% [markdown]
# ## A layer deeper: more places, less certainty
#
# One stage earlier the map has 12 x 12 places. There the derivative is no longer the same everywhere, since large kernels lie
# between it and the head. Grad-CAM averages it over the places; **HiResCAM** multiplies place by place, and keeps the signs.

# %%
each = {place: np.abs(gradient["norm3"][0]).sum(axis=0)[place] for place in ((2, 2), (9, 9))}
print("size of the derivative at two places of stage 3: " + ", ".join(f"{place} {size:.2f}" for place, size in each.items()))
fig, axes = plt.subplots(1, 3, figsize=(8.5, 2.5))
draw(axes[0], grad_cam, "stage 4, Grad-CAM")
draw(axes[1], cam.gradcam(saved["norm3"], gradient["norm3"])[0], "stage 3, Grad-CAM", places=12)
draw(axes[2], cam.hirescam(saved["norm3"], gradient["norm3"])[0], "stage 3, HiResCAM", signed=True, places=12)
plt.show()

# %% [markdown]
# Neither of the two is *the* truth: at stage 3 nothing adds up to the logit any more, and a derivative tells what a small
# change would do, not what the network would have said without the place.
#
# ## Checks that can embarrass it
#
# A picture that lights up the cat may do so for poor reasons: because cats are where the edges are, or the middle. Four
# questions, each of which a bad method fails.
#
# **1. Another class, another place?** The map of "espresso" has to lie on the cup.

# %%
head = model.tensors["head.weight"].astype(float)
for name in ("Egyptian cat", "tabby", "espresso"):
    values = np.maximum(np.einsum("c,chw->hw", head[names.index(name)], features), 0)
    shares = [share_on(quarter, values) for quarter in range(4)]
    print(f"{name:13s} cat {shares[0]:.2f}   cup {shares[1]:.2f}   rocket {shares[2]:.2f}   astronaut {shares[3]:.2f}")

# %% [markdown]
# **2. Other weights, another map?** Adebayo et al. (2018) found methods that draw the same picture when the network's weights
# are shuffled: such a picture shows the photo, not the network. So shuffle the head, then stage 4 as well, then stage 3 ...

# %%
rng, tensors, shuffled = np.random.default_rng(0), dict(model.tensors), {"as trained": class_map}


def alike(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


parts = {"head": ("head.",)} | {f"stage {i}": (f"patch_embed{i}.", f"block{i}.", f"norm{i}.") for i in (4, 3)}
for part, begins in parts.items():
    for name in tensors:
        if name.startswith(begins):
            tensors[name] = rng.permutation(np.asarray(tensors[name], np.float32).ravel()).reshape(tensors[name].shape)
    other = VAN(model.config, tensors, "numpy", model.card)
    last = features if part == "head" else other.features(seen.x)[-1][0]
    shuffled[f"and {part}" if len(shuffled) > 1 else part] = np.einsum("c,chw->hw", tensors["head.weight"][cat], last)
    heads = (rng.permutation(head[cat]) for _ in range(200))
    draws = [alike(np.einsum("c,chw->hw", weights, last), class_map) for weights in heads]
    said = part if part == "head" else f"and {part}"
    print(f"{said:11s} shuffled, 200 heads: correlation with the trained map {np.mean(draws):+.2f} +- {np.std(draws):.2f}")
fig, axes = plt.subplots(1, 4, figsize=(10, 2.5))
for ax, (title, values) in zip(axes, shuffled.items(), strict=True):
    shown = title if title == "as trained" else f"{title} shuffled: {alike(values, class_map):+.2f}"
    draw(ax, values, shown, signed=True)
plt.show()

# %% [markdown]
# Above each picture stands how its map correlates with the trained one; 1 would be the same picture. One shuffle is one draw,
# and with 36 places draws scatter widely, so the cell also shuffles the head 200 times: on average nothing of the trained map
# is left. A method that draws edges, whatever the weights, would stay near 1.
#
# **3. Does the network need what the map marks?** Blur the third of the places that the map ranks highest, then the third
# that it ranks lowest, and a third in the same shape as the highest, but moved elsewhere. Watch the probability of the class. A
# cup of coffee this time, at a size at which the network knows it.

# %%
coffee = explain.look(model, "coffee.jpg", 160)
p, ranked = {}, {}
(last,) = model.features(coffee.x)[-1:]
espresso_map = figure.squares(np.einsum("c,chw->hw", head[cup], last[0]), 32, 160, 160)[None]
ranked["highest"], ranked["lowest"] = faithfulness.ranks(espresso_map), faithfulness.ranks(-espresso_map)
ranked["moved"] = np.roll(ranked["highest"], (80, 80), axis=(1, 2))
blurred = faithfulness.blur(coffee.x)
p["whole"] = faithfulness.probability(model, coffee.x, [cup])[0]
for third, rank in ranked.items():
    p[third] = faithfulness.probability(model, faithfulness.occlude(coffee.x, rank, 1 / 3, blurred), [cup])[0]
    p[f"{third} only"] = faithfulness.probability(model, faithfulness.occlude(blurred, rank, 1 / 3, coffee.x), [cup])[0]
print("probability of espresso")
for third in ranked:
    print(f"  the {third:7s} third blurred: {p[third]:.3f}     all but it blurred: {p[f'{third} only']:.3f}")
print(f"  nothing blurred: {p['whole']:.3f}")

# %% [markdown]
# Taking away is called **deletion**, bringing back into a blurred photo **insertion**. The left column should be lowest in its
# first line, the right column highest there. On one photo either may fail; on 1,000 labelled ones the highest places win both
# (`docs/explain.md` has the table).
#
# **4. Is the answer right at all?** The map of a class explains its logit, and no more. It looks as convincing for a wrong
# class: draw that of "basketball", the network's answer to our four photos, and see.
#
# ## Why this, and not that?
#
# A map of "espresso" lights the whole cup, since the cup speaks for many things: mugs, bowls, soup. A sharper question is
# what speaks for it *more than for its rival*. A difference of logits is a sum over places as well: subtract the maps.

# %%
logits_here = model(coffee.x)[0]
first, rival = np.argsort(-logits_here)[:2]
maps = {k: np.einsum("c,chw->hw", head[k], last[0]) for k in (first, rival)}
difference = maps[first] - maps[rival]
bias = model.tensors["head.bias"].astype(float)
print(f"logits: {names[first]} {logits_here[first]:.3f}, {names[rival]} {logits_here[rival]:.3f}", end="   ")
print(f"mean of the difference and biases: {difference.mean() + bias[first] - bias[rival]:.3f}")
print(f"where the rival leads: {(difference < 0).sum()} of {difference.size} places")
fig, axes = plt.subplots(1, 4, figsize=(10, 2.5))
axes[0].imshow(coarse(coffee.photo))
axes[0].set_title("coffee.jpg, 5 x 5 places", fontsize=10)
axes[0].axis("off")
draw(axes[1], maps[first], names[first], signed=True, places=5, photo=coffee.photo)
draw(axes[2], maps[rival], names[rival], signed=True, places=5, photo=coffee.photo)
draw(axes[3], difference, f"{names[first]} less {names[rival]}", signed=True, places=5, photo=coffee.photo)
plt.show()

# %% [markdown]
# Much of what speaks for the one class speaks for the other. What decides between them is in the last picture.
#
# ## What a map can bear
#
# - It shows what raised a **score** at this size of the photo, not a cause, and not a share of attention.
# - Its resolution is that of its layer. The bundled weights saw photos of 96 x 96, where the last map has 3 x 3 places;
#   `python -m minivan explain` shows them a photo up to twice as large, as long as they still recognise it. Weights trained
#   at 224 (`python -m minivan fetch b0`) have 7 x 7.
# - Signs matter: a method that ends with a ReLU cannot show what speaks against.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_09.py`; minivan's tests check it.
#
# **Exercise 9.1** A last map has two channels and 2 x 2 places: [[1, 0], [3, 0]] and [[0, 2], [0, 2]]. A class's weights are 2
# and -1, its bias is 0.5. What are the four numbers of its class activation map, and what is its logit?

# %%
my_answer = None  # five numbers in a list: the map's four, row by row, then the logit
check(9, 1, my_answer)

# %% [markdown]
# **Exercise 9.2** What are the four numbers of Grad-CAM at that map?

# %%
my_answer = None  # four numbers in a list, row by row
check(9, 2, my_answer)

# %% [markdown]
# **Exercise 9.3** A class has logit 7 and bias 0.5, its rival logit 5 and bias -0.5. What is the mean of the class's map less
# the rival's?

# %%
my_answer = None  # a number
check(9, 3, my_answer)
