"""The operators as brute force: plain Python loops over float64. Slow, obvious, and importing nothing of minivan.

Where minivan's engines, PyTorch and this file disagree, this file is the one to read first.
"""

import math

import numpy as np


def conv2d(x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    n, _, h_in, w_in = x.shape
    c_out, c_group, k_h, k_w = weight.shape
    h = (h_in + 2 * padding[0] - dilation[0] * (k_h - 1) - 1) // stride[0] + 1
    w = (w_in + 2 * padding[1] - dilation[1] * (k_w - 1) - 1) // stride[1] + 1
    y = np.zeros((n, c_out, h, w))
    for image in range(n):
        for o in range(c_out):
            first = o // (c_out // groups) * c_group
            for i in range(h):
                for j in range(w):
                    total = 0.0 if bias is None else float(bias[o])
                    for c in range(c_group):
                        for a in range(k_h):
                            for b in range(k_w):
                                row = i * stride[0] - padding[0] + a * dilation[0]
                                column = j * stride[1] - padding[1] + b * dilation[1]
                                if 0 <= row < h_in and 0 <= column < w_in:
                                    total += float(weight[o, c, a, b]) * float(x[image, first + c, row, column])
                    y[image, o, i, j] = total
    return y


def batch_norm(x, running_mean, running_var, weight, bias, eps=1e-5):
    y = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        deviation = math.sqrt(float(running_var[c]) + eps)
        y[n, c, i, j] = (float(x[n, c, i, j]) - float(running_mean[c])) / deviation * float(weight[c]) + float(bias[c])
    return y


def layer_norm(x, weight, bias, eps=1e-6):
    y = np.zeros(x.shape)
    n, channels, h, w = x.shape
    for image in range(n):
        for i in range(h):
            for j in range(w):
                values = [float(x[image, c, i, j]) for c in range(channels)]
                mean = math.fsum(values) / channels
                variance = math.fsum((v - mean) ** 2 for v in values) / channels
                for c in range(channels):
                    y[image, c, i, j] = (values[c] - mean) / math.sqrt(variance + eps) * float(weight[c]) + float(bias[c])
    return y


def gelu(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        v = float(x[index])
        y[index] = v / 2 * math.erfc(-v / math.sqrt(2))  # 1 + erf(z) == erfc(-z), without the cancellation
    return y


def relu(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        y[index] = 0.0 if float(x[index]) < 0 else float(x[index])
    return y


def upsample_nearest(x, size):
    n, c, h, w = x.shape
    y = np.zeros((n, c, *size))
    down, across = np.float32(h) / np.float32(size[0]), np.float32(w) / np.float32(size[1])
    for image, channel, i, j in np.ndindex(*y.shape):
        row, column = math.floor(np.float32(i) * down), math.floor(np.float32(j) * across)  # PyTorch's, in float32
        y[image, channel, i, j] = x[image, channel, min(row, h - 1), min(column, w - 1)]
    return y


def upsample_bilinear(x, size):
    def between(place, places, of):
        at = max((place + 0.5) * (of / places) - 0.5, 0.0)
        before = math.floor(at)
        return before, min(before + 1, of - 1), at - before

    def mean(a, b, near):
        return a if near == 0 else (1 - near) * a + near * b  # infinity * 0 would be NaN

    n, c, h, w = x.shape
    y = np.zeros((n, c, *size))
    for image, channel, i, j in np.ndindex(*y.shape):
        above, below, down = between(i, size[0], h)
        left, right, across = between(j, size[1], w)
        rows = [[float(x[image, channel, row, column]) for column in (left, right)] for row in (above, below)]
        y[image, channel, i, j] = mean(mean(*rows[0], across), mean(*rows[1], across), down)
    return y


def linear(x, weight, bias=None):
    y = np.zeros((x.shape[0], weight.shape[0]))
    for n, o in np.ndindex(*y.shape):
        products = [float(x[n, c]) * float(weight[o, c]) for c in range(x.shape[1])]
        y[n, o] = math.fsum(products) + (0.0 if bias is None else float(bias[o]))
    return y


def global_average_pool(x):
    y = np.zeros(x.shape[:2])
    for n, c in np.ndindex(*y.shape):
        y[n, c] = math.fsum(float(v) for v in x[n, c].ravel()) / x[n, c].size
    return y


def softmax(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[:-1]):
        row = [float(v) for v in x[index]]
        e = [math.exp(v - max(row)) for v in row]
        for c, v in enumerate(e):
            y[(*index, c)] = v / math.fsum(e)
    return y
