# %% [markdown]
# # 8. Check your own port with the oracle
#
# After these ten minutes you will be able to
#
# - record what every layer of VAN computes, as the referee;
# - compare your own port with it, and be told the first layer that is wrong, and often why;
# - tell harmless rounding from a fault.

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
# Suppose you move VAN to a new place: a phone, an FPGA, or here, plain 32-bit NumPy. These are all the operators one
# needs. One of them has a fault that many real ports have.


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


def batch_norm(x, running_mean, running_var, weight, bias, eps):
    scale = weight / np.sqrt(running_var + np.float32(eps))
    return x * scale[:, None, None] + (bias - running_mean * scale)[:, None, None]


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).mean(1, keepdims=True) + np.float32(eps))
    return centred / spread * weight[:, None, None] + bias[:, None, None]


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
# truth, and whatever arrays the port can put out (an `.npz`, a folder of `.npy`, channels first or last, under any
# names):


# %%
def run(*arguments):
    """Run a command as one would in a terminal."""
    print("$ python -m minivan", *arguments)
    done = subprocess.run([sys.executable, "-m", "minivan", *arguments], capture_output=True, text=True, cwd=work)
    print(done.stdout + done.stderr)


def record(port, name):
    arrays = {}
    port(photo, hook=lambda path, array: arrays.update({path: array}))
    np.savez(work / name, **arrays)


np.save(work / "photo.npy", photo)
record(port, "port.npz")
run("oracle", "record", "photo.npy", "-o", "truth.safetensors")

# %%
report = oracle.compare(oracle.record(model, photo), read(work / "port.npz"))
first = report.first_divergence
print(f"layers compared: {len(report.rows)}")
print("first that differs:", first.path)
print(f"ours {first.first.ours:.6f}, theirs {first.first.theirs:.6f} at {first.first.index}")

# %%
done = subprocess.run(
    [sys.executable, "-m", "minivan", "oracle", "compare", "truth.safetensors", "port.npz"],
    capture_output=True, text=True, cwd=work,
)  # fmt: skip
print(done.stdout[done.stdout.index("first divergence") :])

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
# (20 dB are a factor of ten). Five ports: the mended one, ours, and three other favourites.


# %%
def eps_of_another_library(x, weight, bias, eps):
    return layer_norm(x, weight, bias, 1e-5 if eps == 1e-6 else 1e-6)


def forgets_dilation(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return conv2d(x, weight, bias, stride, padding // dilation, 1, groups)


def half_precision(x, weight, bias=None, **how):
    return conv2d(x, weight.astype(np.float16).astype(np.float32), bias, **how).astype(np.float16).astype(np.float32)


exact_gelu = mended.engine.ops.gelu
ports = {
    "mended": mended,
    "LayerNorm eps of another library": port_of(gelu=exact_gelu, layer_norm=eps_of_another_library),
    "tanh GELU": port,
    "16-bit numbers": port_of(gelu=exact_gelu, conv2d=half_precision),
    "dilation forgotten": port_of(gelu=exact_gelu, conv2d=forgets_dilation),
}
truth = oracle.record(model, photo)
fig, ax = plt.subplots(figsize=(9, 3.8))
for name, each in ports.items():
    record(each, "each.npz")
    report = oracle.compare(truth, read(work / "each.npz"))
    decibels = [min(row.snr_db, 160) for row in report.rows]
    first = report.first_divergence.path if report.first_divergence else "none"
    p = reference.softmax(each(photo)[0].astype(float))
    answer = f"{model.card.label(int(p.argmax())).short} ({p.max():.2f})"
    print(f"{name:34s} {answer:18s} first layer that differs: {first}")
    ax.plot(decibels, label=name)
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

# %%
from minivan.lesson import check

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
