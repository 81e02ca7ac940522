# %% [markdown]
# # 1. One convolution by hand
#
# After these ten minutes you will be able to
#
# - compute any output of a convolution with pencil and paper, and write one in five lines of Python;
# - say what stride, padding and dilation do, and how large the result is;
# - explain why two correct programs give different digits.
#
# You need no deep learning, only a little Python. The photo is Chelsea the cat.
#
# ## Predict, then run
#
# Two programs compute the same outputs. Each output is the sum of the same 49 products, in 32-bit numbers. One program adds
# them from the first to the last, the other from the last to the first. For what per cent of the outputs do the two give
# different digits? Write your guess into the next cell; a later cell sets it beside what is measured.

# %%
prediction = None  # per cent of the outputs

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from minivan import reference
from minivan.lesson import check, compare

plt.style.use("minivan.mplstyle")
cat = np.asarray(Image.open("cat.jpg").convert("L").crop((100, 10, 340, 250)).resize((120, 120)), float)  # grey, 0 to 255
print(cat.shape, "from", cat.min(), "to", cat.max())

# %% [markdown]
# ## One number
#
# A convolution makes a new picture out of a picture. Each new pixel is a **weighted sum** of a small square of old
# ones. The square of weights is the **kernel**. Here are nine pixels beside the cat's eye and a kernel that compares
# left with right:

# %%
pixels = cat[50:53, 39:42].astype(int)
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
for p, k in zip(pixels.ravel(), kernel.ravel(), strict=True):
    print(f"{p:4d} x {k:2d} = {p * k:5d}")
print(f"        sum = {(pixels * kernel).sum():5d}")

# %% [markdown]
# That is all. One product and one addition per weight: nine **multiply-adds**. The rest of the picture is the same sum
# with the kernel moved along.
#
# ## The whole picture
#
# Three numbers steer where the kernel reads: **padding** puts zeros around the picture, **stride** is how far the
# kernel jumps between two outputs, **dilation** how far apart its weights sit. The loops say it best.


# %%
def convolve(x, kernel, stride=1, padding=0, dilation=1):
    """Slide a k x k kernel over an (H, W) picture."""
    x, k = np.pad(x, padding), len(kernel)
    reach = dilation * (k - 1)
    out = np.zeros([(side - 1 - reach) // stride + 1 for side in x.shape])
    for row, column in np.ndindex(*out.shape):
        for i, j in np.ndindex(k, k):
            out[row, column] += kernel[i, j] * x[row * stride + i * dilation, column * stride + j * dilation]
    return out


small = cat[40:72, 30:62]
ours = convolve(small, kernel, stride=2, padding=1)
theirs = reference.conv2d(small[None, None], kernel[None, None].astype(float), stride=2, padding=1)[0, 0]
print(ours.shape, "largest difference from minivan.reference.conv2d:", abs(ours - theirs).max())

# %% [markdown]
# The output's side is $\lfloor (H + 2p - d(k-1) - 1) / s \rfloor + 1$: the kernel's reach must fit, and then it jumps
# by $s$.
#
# ## What kernels see
#
# Nothing is learned yet: these three are classics. Each one is nine numbers.


# %%
def apply(kernel, picture):
    """The same as `convolve`, with padding that keeps the size, in NumPy's compiled loops."""
    kernel = np.asarray(kernel, float)
    return reference.conv2d(picture[None, None], kernel[None, None], padding=len(kernel) // 2)[0, 0]


kernels = {
    "blur": np.full((3, 3), 1 / 9),
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "left against right": kernel,
}
fig, axes = plt.subplots(1, 4, figsize=(9, 2.6))
axes[0].imshow(cat, cmap="gray", vmin=0, vmax=255)
axes[0].set_title("the photo")
for ax, (name, k) in zip(axes[1:], kernels.items(), strict=True):
    edges = name == "left against right"
    ax.imshow(apply(k, cat), cmap="RdBu_r" if edges else "gray", vmin=-400 if edges else 0, vmax=400 if edges else 255)
    ax.set_title(name)
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# ## A kernel that cannot see light
#
# The last kernel's weights add up to zero. So it should not notice if someone turns on the light. Let us add 100 to
# every pixel and look at what changes:

# %%
before, after = apply(kernel, cat), apply(kernel, cat + 100)
change = after - before
inside = change[1:-1, 1:-1]
print("pixels inside that change:", np.count_nonzero(inside), "of", inside.size)
print("pixels on the border that change:", np.count_nonzero(change), "of", change.size - inside.size)

corner = np.s_[:24, :24]
fig, axes = plt.subplots(1, 3, figsize=(10, 3))
titles = ("photo, a corner", "100 brighter", "change of the output")
for ax, values, title in zip(axes, (cat, cat + 100, change), titles, strict=True):
    look = {"cmap": "RdBu_r", "vmin": -400, "vmax": 400} if values is change else {"cmap": "gray", "vmin": 0, "vmax": 355}
    shown = ax.imshow(values[corner], **look)
    ax.set_title(title)
    ax.axis("off")
fig.colorbar(shown, ax=axes[2], shrink=0.8)
plt.show()

# %% [markdown]
# Not one pixel inside changes, but the left and right borders do: there the kernel sees the **padding**, and zeros did
# not get brighter. A network can tell where the edge of a photo is, and this is how. Padding will matter again in
# lesson 3.
#
# ## The same sum, other digits
#
# Addition on a computer rounds, so the order of the terms matters. Here is a sum of 49 products in 32-bit numbers, as
# in a 7 x 7 kernel, once from the first to the last and once from the last to the first:

# %%
rng = np.random.default_rng(1)
weights = rng.standard_normal((7, 7)).astype(np.float32)
picture = (cat / 255).astype(np.float32)
forward = np.zeros((114, 114), np.float32)
backward = np.zeros((114, 114), np.float32)
taps = list(np.ndindex(7, 7))
for i, j in taps:
    forward += weights[i, j] * picture[i : i + 114, j : j + 114]
for i, j in reversed(taps):
    backward += weights[i, j] * picture[i : i + 114, j : j + 114]
differ = forward != backward
print(f"the largest difference is {abs(forward - backward).max():.1e}")
compare(prediction, float(100 * differ.mean()), "% of the outputs")

fig, axes = plt.subplots(1, 2, figsize=(7, 3))
axes[0].imshow(forward, cmap="gray")
axes[0].set_title("the output")
axes[1].imshow(differ, cmap="gray_r", vmin=0, vmax=1)
axes[1].set_title("black: not the same number")
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# Both are right, and most of their last digits differ. A library that adds in another order on another processor
# gives other bits each time. minivan's `exact` engine writes one order down and keeps it; lesson 8 shows what that is
# good for.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_01.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 1.1** How large is the output of a convolution? Write it as a function of the input's side, the kernel's
# side, the stride, the padding and the dilation. (The first layer of VAN is a 7 x 7 convolution with stride 4 and
# padding 3: on a photo of 224 x 224, what does your function say?)


# %%
def side_after(side, kernel, stride, padding, dilation):
    return None  # the side of the output


check(1, 1, side_after)

# %% [markdown]
# **Exercise 1.2** That first layer reads 3 channels and makes 32. How many multiply-adds does it take for that photo?

# %%
my_answer = None  # a whole number
check(1, 2, my_answer)

# %% [markdown]
# **Exercise 1.3** Blurring twice with the 3 x 3 blur above is the same as one 5 x 5 kernel. What is its weight in the
# middle?

# %%
my_answer = None  # a number
check(1, 3, my_answer)
