# %% [markdown]
# # 6. A photo through the network, stage by stage
#
# After these ten minutes you will be able to
#
# - look at what each stage makes of a photo;
# - split the network's answer into shares of the places in the photo, exactly;
# - judge how much the answer depends on how the photo is shown.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minivan
from minivan import image, reference

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
# The first stage makes the map a quarter as wide as the photo, each other one halves it, and all add channels. Too many
# channels to look at one by one; so paint the three directions in which they vary most (the principal components) in
# red, green and blue. Similar colour, similar meaning. To see more we show the photo larger than the network was
# trained on: it takes any size.


# %%
def painted(features):
    """(C, H, W) -> (H, W, 3): the three principal components, each stretched to 0..1."""
    C, H, W = features.shape
    flat = features.reshape(C, -1) - features.reshape(C, -1).mean(1, keepdims=True)
    directions, _, _ = np.linalg.svd(flat, full_matrices=False)
    directions *= np.sign(directions.sum(0))  # an SVD leaves the sign open
    low, high = np.percentile(parts := directions[:, :3].T @ flat, (2, 98), axis=1, keepdims=True)
    return np.clip((parts - low) / (high - low), 0, 1).T.reshape(H, W, 3)


large = 256
_, maps = look(photo, large)
fig, axes = plt.subplots(1, 5, figsize=(10, 2.4))
axes[0].imshow(image.centre_crop(image.resize(photo, large), large).resize((128, 128)))
axes[0].set_title(f"photo, {large} x {large}")
for i, (ax, features) in enumerate(zip(axes[1:], maps, strict=True), start=1):
    ax.imshow(painted(features))
    ax.set_title(f"{i}: {features.shape[1]} x {features.shape[2]}, {features.shape[0]} ch.")
    strength = np.linalg.svd(features.reshape(len(features), -1) - features.mean((1, 2))[:, None], compute_uv=False) ** 2
    print(f"stage {i}: the three colours hold {100 * strength[:3].sum() / strength.sum():.0f} % of the variation")
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# Stage 1 still draws: rims, edges, flat areas. Then the outline goes, and meaning comes: few places are left, and three
# colours, all that an eye can take in, show less than half of what they have to say.
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

# %%
from minivan.lesson import check

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
