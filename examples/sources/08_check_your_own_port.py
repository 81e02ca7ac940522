# %% [markdown]
# # 8. Check your own port with the oracle
#
# After these ten minutes you will be able to
#
# - record what every layer of VAN computes, as the referee;
# - compare your own port with it, and be told the first layer that is wrong, and often why;
# - tell harmless rounding from a fault.
#
# ## Predict, then run
#
# A port is the network written once more, for another machine. At the end of this lesson stand five of them. One is right and
# four are not: they approximate a function, take a constant of another library, keep 16 bits, forget the dilation. How many of
# the five name the right thing on a photo of a cup of coffee? Write your guess into the next cell; a later cell sets it beside
# what is counted.

# %%
prediction = None  # of five ports

# %%
import hashlib
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numba
import numpy as np

import minivan
from minivan import oracle, reference
from minivan.engines import Engine
from minivan.lesson import check, compare
from minivan.oracle.recorded import read
from minivan.van import VAN

plt.style.use("minivan.mplstyle")
work = Path(tempfile.mkdtemp())
model = minivan.load(engine="exact")
side = model.card.preprocessing.crop

# %% [markdown]
# ## A referee must not change its mind
#
# Lesson 1 ended with two right sums whose last digits differed. The `exact` engine writes one order of every sum down
# and keeps it: its bits are the same for any number of threads and any batch. So one can sign them, with a SHA-256.

# %%
x = ((np.arange(8 * 3 * side * side) * 7919 % 511).reshape(8, 3, side, side) / 128 - 2).astype(np.float32)
for threads, number in (("one thread", 1), ("all threads", numba.config.NUMBA_NUM_THREADS)):
    numba.set_num_threads(number)
    alone, batch = model(x[:1]), model(x)
    for name, logits in (("alone", alone), ("in a batch of eight", batch[:1])):
        digest = hashlib.sha256(logits.tobytes()).hexdigest()[:16]
        print(f"first image {name:20s}, {threads:11s}: SHA-256 {digest}...")

# %% [markdown]
# ## A port
#
# Suppose you move VAN to a new place: a phone, an FPGA, or here, plain 32-bit NumPy. The operators that one needs follow, a
# few lines each. One of them has a fault that many real ports have. The convolution first: it adds up shifted copies of the
# map, one for each weight of the kernel.


# %%
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    n, c, h, w = x.shape
    c_out, _, k, _ = weight.shape
    h, w = ((length - dilation * (k - 1) - 1) // stride + 1 for length in (h, w))
    x, kernel = x.reshape(n, groups, c // groups, *x.shape[2:]), weight.reshape(groups, c_out // groups, c // groups, k, k)
    out = np.zeros((n, groups, c_out // groups, h, w), np.float32)
    for i, j in np.ndindex(k, k):
        top, left = i * dilation, j * dilation
        part = x[..., top : top + (h - 1) * stride + 1 : stride, left : left + (w - 1) * stride + 1 : stride]
        out += np.einsum("ngchw,goc->ngohw", part, kernel[..., i, j])
    return out.reshape(n, c_out, h, w) + bias[:, None, None]


# %% [markdown]
# Two normalisations. BatchNorm shifts and scales each channel by what training has seen on average; LayerNorm looks at the
# position at hand, over its channels.


# %%
def batch_norm(x, running_mean, running_var, weight, bias, eps):
    scale = weight / np.sqrt(running_var + np.float32(eps))
    return x * scale[:, None, None] + (bias - running_mean * scale)[:, None, None]


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).mean(1, keepdims=True) + np.float32(eps))
    return centred / spread * weight[:, None, None] + bias[:, None, None]


# %% [markdown]
# GELU, which bends each number by itself, and the three that end the network are a line or two each. Together they are an
# **engine**: minivan's network runs on any object that has these operators.


# %%
def gelu(x):
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    return x / 2 * (1 + np.tanh(inner))


def port_of(**changes):
    """A VAN on these operators, some of them changed. An engine is a name and the operators."""
    operators = dict(conv2d=conv2d, batch_norm=batch_norm, layer_norm=layer_norm, gelu=gelu)
    operators["global_average_pool"] = lambda x: x.mean((2, 3))
    operators["linear"] = lambda x, weight, bias: x @ weight.T + bias
    port = Engine("port", ops=SimpleNamespace(**operators | changes))
    return VAN(model.config, model.tensors, port, model.card)


# %%
port = port_of()
photo = minivan.image.prepare("coffee.jpg", model.card.preprocessing)[None]
ours, theirs = model(photo)[0], port(photo)[0]
for name, logits in (("exact", ours), ("the port", theirs)):
    p = reference.softmax(logits.astype(float))
    print(f"{name:10s} {model.card.label(int(p.argmax())).short} ({p.max():.4f})")

fig, ax = plt.subplots(figsize=(8, 2.8))
order = ours.argsort()[::-1]
ax.plot(ours[order], label="exact")
ax.plot(theirs[order], "--", label="the port")
ax.set(xlabel="classes, the most probable first", ylabel="logit")
ax.legend()
plt.show()

# %% [markdown]
# Same answer, same probability, and two curves that no eye can tell apart. Ready to ship? Ask the oracle. Record the
# truth, and whatever arrays the port can put out (an `.npz`, a folder of `.npy`, channels first or last, under any names). In a
# terminal that is one command:


# %%
def run(*arguments):
    """Return what a command prints, run as in a terminal."""
    done = subprocess.run([sys.executable, "-m", "minivan", *arguments], capture_output=True, text=True, cwd=work)
    return done.stdout + done.stderr


np.save(work / "photo.npy", photo)
print(run("oracle", "record", "photo.npy", "-o", "truth.safetensors"))


# %% [markdown]
# The port's arrays are caught by a hook (lesson 4) and saved under the names that the checkpoint gives to the layers.


# %%
def record(port, name):
    arrays = {}
    port(photo, hook=lambda path, array: arrays.update({path: array}))
    np.savez(work / name, **arrays)


record(port, "port.npz")

# %% [markdown]
# Now the comparison, in Python: every layer of the port beside the truth, and the first that lies further off than rounding can
# explain.

# %%
report = oracle.compare(oracle.record(model, photo), read(work / "port.npz"))
first = report.first_divergence
print(f"layers compared: {len(report.rows)}")
print("first that differs:", first.path)
print(f"ours {first.first.ours:.6f}, theirs {first.first.theirs:.6f} at {first.first.index}")

# %% [markdown]
# In a terminal the same comparison also says what is wrong:

# %%
said = run("oracle", "compare", "truth.safetensors", "port.npz")
print(said[said.index("first divergence") :])

# %% [markdown]
# Not only the layer: the oracle gave each layer what the port gave it, and so tells what a layer adds itself from what it
# has from those before, in roundings of the port's numbers; it lists all that add more than a sound layer may. Then it
# tried the usual faults on them and found the one that gives the port's numbers. Our `gelu` is the popular
# approximation with tanh; VAN was trained with the exact one. Mend it, and compare again:

# %%
erf = np.vectorize(math.erf, otypes=[np.float32])
mended = port_of(gelu=lambda x: x / 2 * (1 + erf(x / np.float32(math.sqrt(2)))))
record(mended, "mended.npz")
report = oracle.compare(oracle.record(model, photo), read(work / "mended.npz"))
print("first layer that differs:", report.first_divergence)

# %% [markdown]
# ## Faults are cliffs, rounding is a plain
#
# How does one tell a fault from rounding? Plot for each layer how far the signal stands above the error, in decibels
# (20 dB are a factor of ten). Five ports: the mended one, ours, and three other favourites. Their faults take two lines each:


# %%
def eps_of_another_library(x, weight, bias, eps):
    return layer_norm(x, weight, bias, 1e-5 if eps == 1e-6 else 1e-6)


def forgets_dilation(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return conv2d(x, weight, bias, stride, padding // dilation, 1, groups)


def half_precision(x, weight, bias=None, **how):
    return conv2d(x, weight.astype(np.float16).astype(np.float32), bias, **how).astype(np.float16).astype(np.float32)


# %%
exact_gelu = mended.engine.ops.gelu
ports = {
    "mended": mended,
    "LayerNorm eps of another library": port_of(gelu=exact_gelu, layer_norm=eps_of_another_library),
    "tanh GELU": port,
    "16-bit numbers": port_of(gelu=exact_gelu, conv2d=half_precision),
    "dilation forgotten": port_of(gelu=exact_gelu, conv2d=forgets_dilation),
}

# %% [markdown]
# What does each of them answer? And does the oracle see what is wrong?

# %%
truth, reports, answers = oracle.record(model, photo), {}, {}
for name, each in ports.items():
    record(each, "each.npz")
    reports[name] = oracle.compare(truth, read(work / "each.npz"))
    p = reference.softmax(each(photo)[0].astype(float))
    answers[name] = model.card.label(int(p.argmax())).short
    first = reports[name].first_divergence
    print(f"{name:34s} {answers[name]} ({p.max():.2f})   first layer that differs: {first.path if first else 'none'}")
right = model.card.label(int(ours.argmax())).short
compare(prediction, sum(answer == right for answer in answers.values()), f"of {len(ports)} ports say {right}")

# %% [markdown]
# Now the whole course of each, from the first layer to the last:

# %%
fig, ax = plt.subplots(figsize=(9, 3.8))
for name, report in reports.items():
    ax.plot([min(row.snr_db, 160) for row in report.rows], label=name)
ax.set(xlabel="layer, in the order of computation", ylabel="signal over error, dB", ylim=(-10, 165))
ax.legend(fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
plt.show()

# %% [markdown]
# The mended port runs level, far above 100 dB through all layers: **rounding does not pile up**, since every block's
# normalisation and averaging work against it. Every fault is a cliff at its own layer. Even the small one shows, the eps
# of another library, which no sensible tolerance catches: its line leaves the mended one at the first LayerNorm.
#
# And read the answers again. Looking at answers is no test at all.
#
# The same in C, with small integer test vectors that any right implementation must hit exactly: `check_a_port/`. From
# PyTorch or an ONNX file: `trace_adapters/`.
#
# ## Exercises
#
# Put your answer in the place of `None` and run the cell: it says whether the answer is right, and hints at what is wrong.
# Nothing is lost by guessing wrong. The key, with the way to each answer, is `answers/lesson_08.py`; minivan's tests check it.

# %% [markdown]
# **Exercise 8.1** A layer stands at 60 dB. How large is its error relative to the signal?

# %%
my_answer = None  # error divided by signal
check(8, 1, my_answer)

# %% [markdown]
# **Exercise 8.2** How many steps from one 32-bit number to the next lie between 1.0 and 1.0001?

# %%
my_answer = None  # a whole number
check(8, 2, my_answer)

# %% [markdown]
# **Exercise 8.3** A port's LayerNorm uses eps = 1e-5 instead of 1e-6. By what factor is its output off at a position
# whose variance is 0.01?

# %%
my_answer = None  # a number, to six digits
check(8, 3, my_answer)
