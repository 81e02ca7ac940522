# %% [markdown]
# # 6. A photo through the network, stage by stage
#
# After these ten minutes you will be able to
#
# - say how much of a photo's colours each stage still knows, and how one measures that;
# - split the network's answer into shares of the places in the photo, exactly;
# - judge how much the answer depends on how the photo is shown.
#
# ## Predict, then run
#
# The network has seen photos of 96 x 96 pixels in its last training, and of a cup of coffee at that size it is nearly sure. Now
# it is shown the same photo at 288 x 288: the same cup, in more detail. What probability does it give to the same answer? Write
# your guess into the next cell; a later cell sets it beside what is measured.

# %%
prediction = None  # a probability, from 0 to 1

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
from PIL import ImageOps

import minivan
from minivan import image, reference
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")
model = minivan.load(engine="numpy")
card = model.card
photo = image.decode("coffee.jpg")


def look(photo, size, hook=None):
    """Return the logits and the four stage outputs for a photo whose shorter side is scaled to `size`."""
    seen = image.centre_crop(image.resize(photo, size), size)
    x = image.normalise(seen, card.preprocessing.mean, card.preprocessing.std)[None]
    stages = {}
    logits = model(x, hook=lambda path, array: stages.update({path: array[0]}))
    return logits[0].astype(float), [stages[f"norm{i}"] for i in range(1, model.config.stages + 1)]


logits, stages = look(photo, card.preprocessing.crop)
probabilities = reference.softmax(logits)
print(f"{card.name}, photo at {card.preprocessing.crop} x {card.preprocessing.crop}")
for index in probabilities.argsort()[::-1][:5]:
    print(f"{probabilities[index]:.3f} {card.label(index).short}")

# %% [markdown]
# ## Four stages
#
# The first stage makes the map a quarter as wide as the photo, each other one halves it, and all add channels: 32, then 64,
# 160, 256 numbers at each position. Painted as pictures they would look like something, and prove nothing. So let us ask a
# question that has an answer: **how much of the photo's colours can still be read from a map?** At every position we want the
# mean red, green and blue of the pixels that it covers, as a weighted sum of the map's channels. The weights are found on four
# other photos (least squares), once on the photos as they are and once on their corners and mirror images as well, and then
# tried on the coffee, which they have never seen.


# %%
SIDE, others = 192, ("cat", "rocket", "astronaut", "four")
quick = minivan.load(engine="fast")  # the same numbers but for rounding, and many views are to be seen


def views(name):
    """Yield a photo as a whole, then its four corners, three quarters as wide, and their mirror images."""
    photo, larger = image.decode(f"{name}.jpg"), SIDE * 4 // 3
    yield image.centre_crop(image.resize(photo, SIDE), SIDE)
    whole = image.centre_crop(image.resize(photo, larger), larger)
    for left, top in itertools.product((0, larger - SIDE), repeat=2):
        corner = whole.crop((left, top, left + SIDE, top + SIDE))
        yield corner
        yield ImageOps.mirror(corner)


def numbers_and_colours(view):
    """For each stage: the map's numbers with a 1 for the constant, (positions, C + 1), and the colours, (positions, 3)."""
    pixels = np.asarray(view, float) / 255
    pairs = []
    for features in quick.features(image.normalise(view, card.preprocessing.mean, card.preprocessing.std)[None]):
        C, H, W = features.shape[1:]
        colours = pixels.reshape(H, SIDE // H, W, SIDE // W, 3).mean((1, 3))
        pairs.append((np.c_[features[0].reshape(C, -1).T, np.ones(H * W)], colours.reshape(-1, 3)))
    return pairs


def readout(x, y):
    """Least squares, kept from large weights where the positions are fewer than the channels."""
    return np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)


# %%
seen = [[numbers_and_colours(view) for view in views(name)] for name in others]
tried = numbers_and_colours(next(views("coffee")))
known = {"as they are": [photo[0] for photo in seen], "and more views": [view for photo in seen for view in photo]}
fig, axes = plt.subplots(2, 4, figsize=(9, 4.8))
for stage, column in enumerate(axes.T):
    x, colours = tried[stage]
    side = int(len(x) ** 0.5)
    print(f"stage {stage + 1}, {side} x {side} positions, {x.shape[1]} weights for each colour")
    for photos, pairs in known.items():
        numbers, wanted = (np.concatenate(parts) for parts in zip(*(pair[stage] for pair in pairs), strict=True))
        read = x @ readout(numbers, wanted)
        told = 1 - ((colours - read) ** 2).sum() / ((colours - colours.mean(0)) ** 2).sum()
        verdict = f"{100 * told:.0f} % of the variation" if told > 0 else "worse than the mean colour"
        print(f"  the four photos {photos:14s} found at {len(numbers):6,d} positions: {verdict}")
    for ax, values in zip(column, (colours, read), strict=True):
        ax.imshow(np.clip(values, 0, 1).reshape(side, side, 3))
        ax.axis("off")
    column[0].set_title(f"{side} x {side}: the photo")
    column[1].set_title(f"read from stage {stage + 1}")
plt.show()

# %% [markdown]
# Stage 1 still knows what the photo looks like, and the later ones give much of it up. How much is gone? By the four photos as
# they are, nothing can be read from stage 4 that is any better than one colour for the whole photo. But there they have 4 x 36
# positions, fewer than the 257 weights that are to be found. With more views of the same four photos a good part of the
# variation can be read from stage 4, too. **That a method finds nothing does not say that nothing is there.** What else the
# last stage knows about its places is the next question.
#
# ## Which place says what?
#
# After stage 4 there is only a mean over the positions and one linear layer. Both are sums, so they can be swapped:
# apply the linear layer at every position first, and average after. The map that this gives for a class says how much
# **each position** adds to that class's logit. Nothing is approximated; check it:

# %%
winner = int(logits.argmax())
weight, bias = model.tensors["head.weight"].astype(float), model.tensors["head.bias"].astype(float)
class_map = np.einsum("c,chw->hw", weight[winner], stages[-1])
print(f"logit of {card.label(winner).short}: {logits[winner]:.6f}")
print(f"mean of its map, plus bias:  {class_map.mean() + bias[winner]:.6f}")

# %% [markdown]
# The same at a larger size, where the map has more positions, for the four most probable classes there:

# %%
size = 192
logits_large, stages_large = look(photo, size)
top = reference.softmax(logits_large).argsort()[::-1][:4]
maps = np.einsum("kc,chw->khw", weight[top], stages_large[-1])
assert np.allclose(maps.mean(axis=(1, 2)) + bias[top], logits_large[top], atol=1e-4)
fig, axes = plt.subplots(1, 5, figsize=(10, 2.5))
axes[0].imshow(image.centre_crop(image.resize(photo, size), size))
axes[0].set_title("photo")
for ax, class_map, index in zip(axes[1:], maps, top, strict=True):
    shown = ax.imshow(class_map, cmap="RdBu_r", vmin=-abs(maps).max(), vmax=abs(maps).max())
    ax.set_title(card.label(index).short, fontsize=10)
fig.colorbar(shown, ax=axes[-1], shrink=0.7)
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# Red places speak for the class, blue ones against it. The answer is a **vote of places**, and the votes are in the
# picture.
#
# ## How sure is sure?
#
# The network accepts any size from 32 pixels on. Show it the same photo larger and smaller:

# %%
sizes = [32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 288]
found = {size: reference.softmax(look(photo, size)[0]) for size in sizes}
for size, p in found.items():
    print(f"{size:4d}: {p.max():.3f} {card.label(int(p.argmax())).short}")
compare(prediction, float(found[288][winner]), f"for {card.label(winner).short} at 288 x 288")

fig, ax = plt.subplots(figsize=(7.5, 3))
classes = sorted({int(p.argmax()) for p in found.values()} | {winner}, key=lambda c: -max(p[c] for p in found.values()))
for index in classes[:4]:
    ax.plot(sizes, [found[size][index] for size in sizes], "o-", label=card.label(index).short)
ax.axvline(card.preprocessing.crop, color="gray", linestyle=":")
ax.text(card.preprocessing.crop + 3, 1.01, "trained last here", color="gray")
ax.set(xlabel="side of the photo in pixels", ylabel="probability", ylim=(0, 1.1))
ax.legend()
plt.show()

# %% [markdown]
# The photo is the same, and so are all the weights; only the scale changes. The answer holds at the sizes of the
# training, which began at 48 pixels and ended at 96, and melts away from them. A probability of a network is a statement
# about photos **like those it was trained on**, taken as they were.
#
# ## A photo of nothing it knows
#
# Here is a rocket, and an astronaut. None of the 200 classes is either of them.

# %%
for name in ("rocket", "astronaut"):
    p = reference.softmax(look(image.decode(f"{name}.jpg"), card.preprocessing.crop)[0])
    print(f"{name:10s} {p.max():.2f} {card.label(int(p.argmax())).short}")
print(f"'not sure' is said below {card.not_sure}")

# %% [markdown]
# The network names one of its classes all the same, and of the rocket it is as sure as of many a photo that it knows: an
# open set is not what a closed classifier knows, for the probabilities of its classes add up to 1 whatever is shown. What
# can be measured is how often it is right about photos that do show a class: below a first probability of 0.3 in about
# one case of five, and the weights carry that limit (`card.not_sure`).
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_06.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 6.1** At which side does the last stage's map have exactly 49 positions?

# %%
my_answer = None  # pixels
check(6, 1, my_answer)

# %% [markdown]
# **Exercise 6.2** A class map has a mean of 7.25, the same in its left half as in its right, and the class's bias is
# -0.5. What is the logit? What would it be if the right half of the map were zero?

# %%
my_answer = None  # two numbers: (logit, logit with the right half zero)
check(6, 2, my_answer)

# %% [markdown]
# **Exercise 6.3** Two classes have logits 6 and 3. How many times as probable is the first, whatever the other
# classes do?

# %%
my_answer = None  # a number
check(6, 3, my_answer)
