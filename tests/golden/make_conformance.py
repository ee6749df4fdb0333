#!/usr/bin/env python3
"""Write what PyTorch gives for the composed reductions, parts, triangles, ranges and views, in double precision.

    make_conformance.py [OUT]    default: tests/golden/conformance.safetensors

tests/conformance_test.cpp has the same cases by name. Input i of a case is 2 * t("<case>.<i>", index) as in
scripts/make_golden.py, rounded to float. The file is a safetensors file of F64 tensors:

    <case>.y            the result
    <case>.grad.<i>     the gradient of sum(y * g) with respect to input i, where g is t of "<case>.g"
    <case>.second.<i>   the gradient of the sum of cubes of all these with respect to input i, 0 where it has none
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from make_golden import rounded, uniform, write_safetensors  # noqa: E402

INF = float("inf")


def with_zeros(x):
    """x with a 0 wherever it is below 1, which leaves rows with none, one and several."""
    return torch.where(x < 1, torch.zeros_like(x), x)


def weighted(parts):
    """The parts as one row, each times its number from 1 on."""
    return torch.cat([(i + 1) * part.reshape(-1) for i, part in enumerate(parts)])


def dilated_average(x, kernel, dilation, stride):
    """PyTorch has no dilation here: a depthwise convolution with equal weights."""
    channels = x.shape[1]
    weight = torch.full((channels, 1) + kernel, 1.0 / (kernel[0] * kernel[1]), dtype=x.dtype)
    return F.conv2d(x, weight, stride=stride, dilation=dilation, groups=channels)


def norm(p, dim=None, keepdim=False):
    return lambda x: torch.linalg.vector_norm(x, p, dim=dim, keepdim=keepdim)


CASES = {
    "prod": ([(3, 4, 5)], lambda x: x.prod().reshape(())),
    "prod_axis": ([(3, 4, 5)], lambda x: x.prod(1)),
    "prod_kept": ([(3, 7)], lambda x: x.prod(1, keepdim=True)),
    "prod_zeros": ([(12, 3)], lambda x: with_zeros(x).prod(1)),
    "norm": ([(3, 4, 5)], norm(2)),
    "norm_axis": ([(3, 4, 5)], norm(2, 1)),
    "norm_axes": ([(3, 4, 5)], norm(2, (0, 2), True)),
    "norm_zeros": ([(12, 3)], lambda x: norm(2, 1)(with_zeros(x))),
    "norm_1": ([(4, 5)], norm(1, 1)),
    "norm_3": ([(4, 5)], norm(3, 1)),
    "norm_half": ([(4, 5)], norm(0.5, 1)),
    "norm_minus_1": ([(4, 5)], norm(-1, 1)),
    "norm_inf": ([(4, 5)], norm(INF, 1)),
    "norm_minus_inf": ([(4, 5)], norm(-INF, 1)),
    "std": ([(3, 4, 5)], lambda x: x.std()),
    "std_axes": ([(3, 4, 5)], lambda x: x.std((0, 2), correction=0, keepdim=True)),
    "split": ([(7, 3)], lambda x: weighted(x.split(3))),
    "split_sizes": ([(2, 7)], lambda x: weighted(x.split([1, 4, 2], 1))),
    "chunk": ([(2, 7)], lambda x: weighted(x.chunk(3, 1))),
    "chunk_fewer": ([(6, 2)], lambda x: weighted(x.chunk(4))),
    "tile": ([(2, 3)], lambda x: x.tile((2, 1, 3))),
    "tile_short": ([(2, 1, 3)], lambda x: x.tile((4, 2))),
    "tril": ([(2, 4, 5)], lambda x: x.tril(1)),
    "triu": ([(5, 3)], lambda x: x.triu(-1)),
    "linspace": ([(7,)], lambda x: x * torch.linspace(-2.5, 4, 7, dtype=x.dtype)),
    "as_strided_transposed": ([(4, 6)], lambda x: (x * 1).t().as_strided((3, 4), (2, 3))),
    "as_strided_inside": ([(4, 6)], lambda x: (x * 1)[:, 1:4].as_strided((3, 5), (5, 1), 0)),
    "as_strided_expanded": ([(4, 1)], lambda x: (x * 1).expand(4, 3).as_strided((2, 3), (1, 1), 0)),
    "avg_pool2d_dilated": ([(2, 3, 8, 9)], lambda x: dilated_average(x, (2, 3), (3, 2), (2, 1))),
    "lp_pool2d_dilated": ([(2, 3, 8, 9)],
                          lambda x: (6 * dilated_average(x * x, (2, 3), (2, 3), (1, 2))).sqrt()),
    "any": ([(6, 3)], lambda x: x * with_zeros(x).any(1, keepdim=True)),
    "all": ([(12, 2)], lambda x: x * with_zeros(x).all(1, keepdim=True)),
}


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests", "golden", "conformance.safetensors")
    tensors = {}
    for name, (shapes, function) in CASES.items():
        inputs = [rounded(4 * uniform(f"{name}.{i}", shape) - 2).double().requires_grad_()
                  for i, shape in enumerate(shapes)]
        y = function(*inputs)
        g = rounded(np.asarray(2 * uniform(f"{name}.g", tuple(y.shape)) - 1)).double()
        gradients = torch.autograd.grad((y * g).sum(), inputs, create_graph=True)
        tensors[f"{name}.y"] = y.detach().numpy()
        cubes = sum((gradient**3).sum() for gradient in gradients)
        seconds = [None] * len(inputs)
        if cubes.requires_grad:
            seconds = torch.autograd.grad(cubes, inputs, allow_unused=True)
        for i, (gradient, second) in enumerate(zip(gradients, seconds)):
            tensors[f"{name}.grad.{i}"] = gradient.detach().numpy()
            tensors[f"{name}.second.{i}"] = (torch.zeros_like(inputs[i]) if second is None else second).detach().numpy(force=True)
    write_safetensors(path, tensors, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
