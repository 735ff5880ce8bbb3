"""The definition of every operator as NumPy loops over output pixels and taps, independent of medups."""

from __future__ import annotations

from itertools import product
from math import floor

import numpy as np

ALL = slice(None)


def pixels(size):
    """Every index of a map."""
    return product(*map(range, size))


def neighbors(kernel_size, dims):
    """Offsets of a kernel's taps, row by row."""
    return product(range(-(kernel_size // 2), kernel_size // 2 + 1), repeat=dims)


def read(x, index, border):
    """Channels of ``x`` at an integer index, which may lie outside the map."""
    inner = []
    for i, n in zip(index, x.shape[2:], strict=True):
        if not 0 <= i < n:
            if border == "zeros":
                return np.zeros(x.shape[:2])
            if border == "reflect" and n > 1:
                while not 0 <= i < n:
                    i = -i if i < 0 else 2 * (n - 1) - i
            i = min(max(i, 0), n - 1)
        inner.append(i)
    return x[(ALL, ALL, *inner)]


def read_between(x, position):
    """Channels of ``x`` at a real position, linear between pixels, clamped to the map."""
    total = 0.0
    position = [min(max(i, 0), n - 1) for i, n in zip(position, x.shape[2:], strict=True)]
    for corner in product((0, 1), repeat=len(position)):
        weight, index = 1.0, []
        for i, c, n in zip(position, corner, x.shape[2:], strict=True):
            weight *= (i - floor(i)) if c else 1 - (i - floor(i))
            index.append(min(floor(i) + c, n - 1))
        total = total + weight * x[(ALL, ALL, *index)]
    return total


def nearest(p, n_in, n_out, offset):
    """The pixel ``offset`` away from the one that contains output pixel ``p``."""
    return [floor(i * n / m) + t for i, n, m, t in zip(p, n_in, n_out, offset, strict=True)]


def between(p, n_in, n_out, offset):
    """The position ``offset`` pixels away from the center of output pixel ``p``."""
    return [(i + 0.5) * n / m - 0.5 + t for i, n, m, t in zip(p, n_in, n_out, offset, strict=True)]


def reassembled(x, weights, kernel_size, taps, border):
    """Each output pixel: the weighted sum of its taps, in groups of channels."""
    batch, channels, *n_in = x.shape
    groups, _, *n_out = weights.shape[1:]
    out = np.zeros((batch, channels, *n_out))
    for p in pixels(n_out):
        for number, offset in enumerate(neighbors(kernel_size, len(n_in))):
            if taps == "nearest":
                value = read(x, nearest(p, n_in, n_out, offset), border)
            else:
                value = read_between(x, between(p, n_in, n_out, offset))
            for g in range(groups):
                group = slice(g * channels // groups, (g + 1) * channels // groups)
                out[(ALL, group, *p)] += weights[(ALL, g, number, *p)][:, None] * value[:, group]
    return out


def similarities(query, key, kernel_size, dilation, metric):
    """Dot product or cosine of each query pixel and each of its neighbors in the key."""
    n_in, n_out = key.shape[2:], query.shape[2:]
    out = np.zeros((query.shape[0], kernel_size ** len(n_in), *n_out))
    for p in pixels(n_out):
        for number, tap in enumerate(neighbors(kernel_size, len(n_in))):
            offset = [t * step for t, step in zip(tap, dilation, strict=True)]
            value = read(key, nearest(p, n_in, n_out, offset), "zeros")
            score = (query[(ALL, ALL, *p)] * value).sum(1)
            if metric == "cosine" and value.any():
                score /= np.linalg.norm(query[(ALL, ALL, *p)], axis=1) * np.linalg.norm(value, axis=1)
            out[(ALL, number, *p)] = score
    return out


def resized(x, size):
    """Linear resizing with aligned pixel centers."""
    out = np.zeros((*x.shape[:2], *size))
    for p in pixels(size):
        out[(ALL, ALL, *p)] = read_between(x, between(p, x.shape[2:], size, [0] * len(size)))
    return out


def sampled(x, offsets):
    """Each group of channels read at its own shifted position; the offsets name the last axis first."""
    batch, channels, *n_in = x.shape
    n_out, dims = offsets.shape[2:], len(n_in)
    groups = offsets.shape[1] // dims
    out = np.zeros((batch, channels, *n_out))
    for p in pixels(n_out):
        for b, g in product(range(batch), range(groups)):
            shift = [offsets[(b, (dims - 1 - axis) * groups + g, *p)] for axis in range(dims)]
            group = slice(g * channels // groups, (g + 1) * channels // groups)
            out[(b, group, *p)] = read_between(x[b : b + 1, group], between(p, n_in, n_out, shift))[0]
    return out


def window_means(x, radius):
    """The mean over the part of each window that is inside the map."""
    out = np.empty_like(x)
    for p in pixels(x.shape[2:]):
        window = tuple(slice(max(0, i - radius), i + radius + 1) for i in p)
        out[(ALL, ALL, *p)] = x[(ALL, ALL, *window)].mean(tuple(range(2, x.ndim)))
    return out


def regressed(guide, x, radius, eps):
    """The guided filter: local linear regression on the guide, averaged over the windows of each pixel."""
    mean_g, mean_x = window_means(guide, radius), window_means(x, radius)
    slope = (window_means(guide * x, radius) - mean_g * mean_x) / (window_means(guide**2, radius) - mean_g**2 + eps)
    offset = mean_x - slope * mean_g
    return window_means(slope, radius) * guide + window_means(offset, radius)


def paireddifferences(key, query, weight, bias, dilation, groups):
    """The weighted sum of each tap's difference from the query."""
    n_in, n_out, kernel = key.shape[2:], query.shape[2:], weight.shape[2:]
    per_group, outputs = weight.shape[1], weight.shape[0] // groups
    out = np.zeros((key.shape[0], weight.shape[0], *n_out)) + bias.reshape(-1, *[1] * len(n_out))
    for p in pixels(n_out):
        for tap in pixels(kernel):
            offset = [t - n // 2 for t, n in zip(tap, kernel, strict=True)]
            if n_in == n_out:
                index = [i + t * step for i, t, step in zip(p, offset, dilation, strict=True)]
                value = read(key, index, "replicate")
            else:
                value = read_between(key, between(p, n_in, n_out, offset))
            difference = value - query[(ALL, ALL, *p)]
            for m in range(weight.shape[0]):
                first = m // outputs * per_group
                out[(ALL, m, *p)] += difference[:, first : first + per_group] @ weight[(m, ALL, *tap)]
    return out


def blurred(x):
    """A normalized Gaussian of sigma 1 over the 3^d pixels around each one."""
    taps = list(neighbors(3, x.ndim - 2))
    weights = [np.exp(-0.5 * sum(t * t for t in tap)) for tap in taps]
    out = np.zeros_like(x)
    for p in pixels(x.shape[2:]):
        for tap, weight in zip(taps, weights, strict=True):
            index = [i + t for i, t in zip(p, tap, strict=True)]
            out[(ALL, ALL, *p)] += weight / sum(weights) * read(x, index, "replicate")
    return out


def normalized(x, statistics, groups, weight, bias, eps=1e-5):
    """Group norm of ``x`` with the mean and variance of another map of as many channels."""
    out = np.empty_like(x)
    for b, g in product(range(x.shape[0]), range(groups)):
        group = slice(g * x.shape[1] // groups, (g + 1) * x.shape[1] // groups)
        values = statistics[b, group]
        out[b, group] = (x[b, group] - values.mean()) / np.sqrt(values.var() + eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return out * weight.reshape(shape) + bias.reshape(shape)


def logits(around, query, layers, norm_groups):
    """The layers from a paired difference to kernel logits, pixel by pixel except for the norm's statistics."""
    mix = np.zeros((layers.mix.shape[0],) * 2)
    per_group = layers.mix.shape[1]
    for m in range(len(mix)):
        first = m // per_group * per_group
        mix[m, first : first + per_group] = layers.mix[m]
    hidden = np.empty_like(around)
    for p in pixels(around.shape[2:]):
        index = (ALL, ALL, *p)
        difference = np.maximum(around[index] - query[index] @ layers.center.T, 0)
        hidden[index] = np.maximum(difference @ mix.T + layers.mix_bias, 0)
    norm = normalized(hidden, hidden, norm_groups, layers.norm_weight, layers.norm_bias)
    out = np.empty((around.shape[0], len(layers.weight), *around.shape[2:]))
    for p in pixels(around.shape[2:]):
        out[(ALL, ALL, *p)] = norm[(ALL, ALL, *p)] @ layers.weight.T + layers.bias
    return out
