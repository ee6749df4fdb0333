#!/usr/bin/env python3
"""Write what PyTorch gives for the functions of weft/indexing.h, in double precision.

    make_indexing.py [OUT]    default: indexing.safetensors beside this file

tests/indexing_test.cpp has the same cases by name. The file is a safetensors file of F64 tensors:

    <case>.x                   input
    <case>.index, .source      inputs of some cases; index is i64, or bool of masked_fill
    <case>.y                   the result
    <case>.g                   the gradient of the result
    <case>.grad.x, .source     the gradient of sum(y * g) with respect to an input
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
from make_golden import write_safetensors  # noqa: E402

# name: (shape of x, (shape, limit) of index or None, shape of source or None, function). Indices of scatter are
# distinct along each line, because PyTorch names no winner, and sources have their shape, because it has no gradient
# of others.
CASES = {
    "index_select_0": ((5, 3), ((7,), 5), None, lambda x, i, s: torch.index_select(x, 0, i)),
    "index_select_1": ((2, 4, 3), ((40,), 4), None, lambda x, i, s: torch.index_select(x, 1, i)),
    "gather_0": ((4, 5), ((6, 3), 4), None, lambda x, i, s: torch.gather(x, 0, i)),
    "gather_1": ((3, 4, 5), ((2, 7, 5), 4), None, lambda x, i, s: torch.gather(x, 1, i)),
    "scatter_0": ((6, 5), ("distinct", (3, 2), 6), (3, 2), lambda x, i, s: torch.scatter(x, 0, i, s)),
    "scatter_1": ((3, 9, 2), ("distinct", (3, 9, 2), 9), (3, 9, 2), lambda x, i, s: torch.scatter(x, 1, i, s)),
    "scatter_number": ((3, 9), ("distinct", (2, 4), 9), None, lambda x, i, s: torch.scatter(x, 1, i, 0.25)),
    "scatter_add_0": ((4, 5), ((37, 3), 4), (37, 3), lambda x, i, s: torch.scatter_add(x, 0, i, s)),
    "scatter_add_1": ((2, 3, 4), ((2, 6, 3), 3), (2, 6, 3), lambda x, i, s: torch.scatter_add(x, 1, i, s)),
    "masked_fill": ((3, 4, 5), ("mask", (4, 1)), None, lambda x, i, s: torch.masked_fill(x, i, -1.5)),
    "embedding": ((6, 4), ((3, 5), 6), None, lambda x, i, s: F.embedding(i, x)),
    "cumsum_0": ((40, 3), None, None, lambda x, i, s: torch.cumsum(x, 0)),
    "cumsum_1": ((2, 77), None, None, lambda x, i, s: torch.cumsum(x, -1)),
    "sort_0": ((9, 4), None, None, lambda x, i, s: torch.sort(x, dim=0, stable=True).values),
    "sort_1": ((2, 3, 17), None, None, lambda x, i, s: torch.sort(x, dim=-1, descending=True, stable=True).values),
    "argsort_0": ((9, 4), None, None, lambda x, i, s: x * torch.argsort(x, dim=0, stable=True)),
    "argsort_1": ((3, 70), None, None, lambda x, i, s: x * torch.argsort(torch.round(2 * x), dim=1, descending=True, stable=True)),
    "topk_largest": ((4, 11), None, None, lambda x, i, s: torch.topk(x, 5).values),
    "topk_smallest": ((11, 4), None, None, lambda x, i, s: torch.topk(x, 3, 0, False).values),
    "topk_indices": ((4, 11), None, None, lambda x, i, s: torch.topk(x, 5).values * torch.topk(x, 5).indices),
}


def drawn(random, shape):  # exact in f32, so that one file serves both dtypes
    return torch.from_numpy(random.uniform(-2, 2, shape).astype(np.float32).astype(np.float64))


def drawn_index(random, description, axis):
    if description is None:
        return None
    if description[0] == "mask":
        return torch.from_numpy(random.integers(0, 2, description[1]) == 1)
    if description[0] == "distinct":
        _, shape, limit = description
        lines = np.moveaxis(np.zeros(shape, np.int64), axis, -1).copy()
        for line in np.ndindex(lines.shape[:-1]):
            lines[line] = random.permutation(limit)[: lines.shape[-1]]
        return torch.from_numpy(np.moveaxis(lines, -1, axis).copy())
    return torch.from_numpy(random.integers(0, description[1], description[0]))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "indexing.safetensors")
    tensors = {}
    for number, (name, (shape, index, source, function)) in enumerate(CASES.items()):
        random = np.random.default_rng(number)
        x = drawn(random, shape).requires_grad_()
        i = drawn_index(random, index, 0 if name.endswith("_0") else 1)
        s = drawn(random, source).requires_grad_() if source else None
        y = function(x, i, s)
        g = drawn(random, tuple(y.shape))
        inputs = {"x": x} | ({"source": s} if source else {})
        gradients = torch.autograd.grad((y * g).sum(), list(inputs.values()))
        values = {key: value.detach() for key, value in inputs.items()} | {"g": g, "y": y.detach()}
        values |= {f"grad.{key}": gradient for key, gradient in zip(inputs, gradients)}
        if i is not None:
            values["index"] = i.double()
        for key, value in values.items():
            tensors[f"{name}.{key}"] = value.contiguous().numpy()
    write_safetensors(path, tensors, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
