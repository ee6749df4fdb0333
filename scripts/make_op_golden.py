#!/usr/bin/env python3
"""Write what PyTorch gives for the convolution family, activations, losses, normalisations and pooling, in double precision.

    make_op_golden.py [OUT]    default: tests/golden/ops.safetensors

tests/golden_test.cpp has the same cases by name. Input i of a case is 2 * t(s, index) as in make_golden.py, where s is
"<case>.<i>"; its shape is that of its gradient in the file. The file is a safetensors file of F64 tensors:

    <case>.y            the result
    <case>.grad.<i>     the gradient of sum(y * g) with respect to input i, where g is t of "<case>.g"
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import rounded, uniform, write_safetensors

LABELS = torch.tensor([0, 2, 1, 4, 3, 2])
CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5], dtype=torch.float64)


def share(x):  # [-2, 2] to [0, 1]
    return (x + 2) * 0.25


def padded(mode):
    return lambda x, w: F.conv2d(F.pad(x, (1, 2, 2, 1), mode=mode), w, stride=(2, 1))


def with_indices(result):  # the maxima and their indices in one tensor
    return result[0] + result[1]


CASES = {
    "conv1d": ([(2, 4, 11), (6, 2, 3), (6,)],
               lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1, dilation=2, groups=2)),
    "conv1d_same": ([(2, 3, 7), (4, 3, 4)], lambda x, w: F.conv1d(x, w, padding="same")),
    "conv1d_same_dilated": ([(1, 2, 9), (3, 2, 4)], lambda x, w: F.conv1d(x, w, padding="same", dilation=3)),
    "conv2d": ([(2, 3, 8, 7), (4, 3, 3, 2), (4,)],
               lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2))),
    "conv2d_depthwise": ([(2, 3, 7, 6), (6, 1, 3, 2)], lambda x, w: F.conv2d(x, w, stride=2, groups=3)),
    "conv2d_reflect": ([(2, 3, 5, 4), (2, 3, 3, 3)], padded("reflect")),
    "conv2d_replicate": ([(2, 3, 5, 4), (2, 3, 3, 3)], padded("replicate")),
    "conv2d_circular": ([(2, 3, 5, 4), (2, 3, 3, 3)], padded("circular")),
    "conv3d": ([(2, 4, 3, 5, 4), (4, 2, 2, 3, 3), (4,)],
               lambda x, w, b: F.conv3d(x, w, b, stride=(1, 2, 1), padding=(1, 0, 1), groups=2)),
    "conv_transpose1d": ([(2, 3, 5), (3, 4, 3), (4,)],
                         lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1, dilation=2)),
    "conv_transpose2d": ([(2, 4, 3, 4), (4, 3, 3, 4), (6,)],
                         lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 3), padding=(1, 0), output_padding=(1, 2),
                                                            groups=2)),
    "conv_transpose3d": ([(1, 3, 2, 3, 2), (3, 2, 2, 3, 2)], lambda x, w: F.conv_transpose3d(x, w, stride=2, padding=1)),
    "unfold": ([(2, 3, 5, 6)], lambda x: F.unfold(x, (2, 3), dilation=(1, 2), padding=1, stride=(2, 1))),
    "fold": ([(2, 18, 6)], lambda x: F.fold(x, (5, 6), (2, 3), dilation=(1, 2), padding=(1, 1), stride=(2, 2))),
    "leaky_relu": ([(3, 7)], lambda x: F.leaky_relu(x, 0.2)),
    "elu": ([(3, 7)], lambda x: F.elu(x, 1.3)),
    "celu": ([(3, 7)], lambda x: F.celu(x, 1.3)),
    "silu": ([(3, 7)], F.silu),
    "softplus": ([(3, 7)], lambda x: F.softplus(x, 2, 3)),
    "hardtanh": ([(3, 7)], lambda x: F.hardtanh(x, -0.5, 0.7)),
    "relu6": ([(3, 7)], lambda x: F.relu6(x * 6)),
    "hardsigmoid": ([(3, 7)], lambda x: F.hardsigmoid(x * 4)),
    "hardswish": ([(3, 7)], lambda x: F.hardswish(x * 4)),
    "gelu": ([(3, 7)], F.gelu),
    "gelu_tanh": ([(3, 7)], lambda x: F.gelu(x, approximate="tanh")),
    "cross_entropy": ([(6, 5)], lambda x: F.cross_entropy(x, LABELS, weight=CLASS_WEIGHTS, ignore_index=2)),
    "cross_entropy_smooth": ([(6, 5)], lambda x: F.cross_entropy(x, LABELS, weight=CLASS_WEIGHTS, label_smoothing=0.1)),
    "cross_entropy_probabilities": ([(6, 5), (6, 5)], lambda x, p: F.cross_entropy(x, share(p), weight=CLASS_WEIGHTS)),
    "nll_loss": ([(6, 5)], lambda x: F.nll_loss(x, LABELS, weight=CLASS_WEIGHTS, reduction="sum")),
    "smooth_l1_loss": ([(4, 5), (4, 5)], lambda x, t: F.smooth_l1_loss(x, t, beta=0.3)),
    "huber_loss": ([(4, 5), (4, 5)], lambda x, t: F.huber_loss(x, t, delta=0.3)),
    "bce_with_logits": ([(4, 5), (4, 5)],
                        lambda x, t: F.binary_cross_entropy_with_logits(x * 3, share(t), weight=CLASS_WEIGHTS * 0.5,
                                                                        pos_weight=CLASS_WEIGHTS)),
    "group_norm": ([(2, 6, 3, 4), (6,), (6,)], lambda x, w, b: F.group_norm(x, 3, w, b, 1e-3)),
    "layer_norm": ([(2, 3, 4, 5), (4, 5), (4, 5)], lambda x, w, b: F.layer_norm(x, (4, 5), w, b, 1e-3)),
    "instance_norm": ([(2, 3, 4, 5), (3,), (3,)], lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-3)),
    "batch_norm": ([(3, 4, 3, 2), (4,), (4,)], lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=1e-3)),
    "max_pool2d": ([(2, 3, 7, 6)], lambda x: F.max_pool2d(x, (3, 2), (2, 2), (1, 1))),
    "avg_pool2d": ([(2, 3, 7, 6)], lambda x: F.avg_pool2d(x, (3, 2), (2, 2), (1, 1))),
    "interpolate_nearest": ([(2, 3, 7)], lambda x: F.interpolate(x, scale_factor=2.6)),
    "interpolate_nearest2d": ([(2, 3, 5, 7)], lambda x: F.interpolate(x, size=(8, 3))),
    "interpolate_nearest3d": ([(2, 3, 3, 4, 5)], lambda x: F.interpolate(x, scale_factor=(2, 1.5, 0.7))),
    "interpolate_linear": ([(2, 3, 7)], lambda x: F.interpolate(x, scale_factor=1.7, mode="linear")),
    "interpolate_linear_down": ([(2, 3, 11)], lambda x: F.interpolate(x, size=4, mode="linear")),
    "interpolate_linear_kept": ([(2, 3, 3)], lambda x: F.interpolate(x, scale_factor=1.3, mode="linear")),
    "interpolate_bilinear": ([(2, 3, 5, 7)], lambda x: F.interpolate(x, scale_factor=(2.3, 0.6), mode="bilinear")),
    "interpolate_bilinear_corners": ([(2, 3, 5, 7)], lambda x: F.interpolate(x, size=(9, 4), mode="bilinear",
                                                                             align_corners=True)),
    "interpolate_trilinear": ([(2, 3, 3, 4, 5)], lambda x: F.interpolate(x, size=(5, 3, 10), mode="trilinear")),
    "interpolate_trilinear_corners": ([(2, 3, 3, 4, 5)], lambda x: F.interpolate(x, scale_factor=1.9, mode="trilinear",
                                                                                 align_corners=True)),
    "max_pool1d": ([(2, 3, 11)], lambda x: with_indices(F.max_pool1d(x, 3, 2, 1, 2, True, return_indices=True))),
    "max_pool2d_ceil": ([(2, 3, 8, 7)],
                        lambda x: with_indices(F.max_pool2d(x, (3, 2), (2, 3), (1, 1), (1, 2), True, return_indices=True))),
    "max_pool3d": ([(2, 2, 5, 4, 6)],
                   lambda x: with_indices(F.max_pool3d(x, (2, 2, 3), (1, 2, 2), (1, 0, 1), (2, 1, 1), return_indices=True))),
    "max_unpool1d": ([(2, 3, 8)], lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2)),
    "max_unpool2d": ([(2, 3, 7, 6)],
                     lambda x: F.max_unpool2d(*F.max_pool2d(x, (3, 2), return_indices=True), (3, 2), output_size=(7, 6))),
    "max_unpool3d": ([(1, 2, 4, 4, 6)], lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, 2, return_indices=True), 2)),
    "avg_pool1d": ([(2, 3, 10)], lambda x: F.avg_pool1d(x, 4, 3, 2, True, False)),
    "avg_pool2d_ceil": ([(2, 3, 8, 7)], lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 1), True, True)),
    "avg_pool2d_inside": ([(2, 3, 8, 7)], lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 1), True, False)),
    "avg_pool2d_divisor": ([(2, 3, 8, 7)], lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 1), True, False, 5)),
    "avg_pool3d": ([(2, 2, 5, 4, 6)], lambda x: F.avg_pool3d(x, (2, 3, 3), (2, 1, 2), (1, 0, 1), True, True)),
    "lp_pool1d": ([(2, 3, 9)], lambda x: F.lp_pool1d(x + 3, 3, 4, 2, True)),
    "lp_pool2d": ([(2, 3, 7, 6)], lambda x: F.lp_pool2d(x, 2, (3, 2), (2, 2), True)),
    "lp_pool2d_sum": ([(2, 3, 6, 6)], lambda x: F.lp_pool2d(x, 1, 2)),
    "adaptive_avg_pool1d": ([(2, 3, 7)], lambda x: F.adaptive_avg_pool1d(x, 3)),
    "adaptive_avg_pool2d": ([(2, 3, 5, 4)], lambda x: F.adaptive_avg_pool2d(x, (3, 6))),
    "adaptive_avg_pool3d": ([(1, 2, 5, 4, 3)], lambda x: F.adaptive_avg_pool3d(x, (2, 2, 5))),
    "adaptive_max_pool1d": ([(2, 3, 7)], lambda x: F.adaptive_max_pool1d(x, 3)),
    "adaptive_max_pool2d": ([(2, 3, 5, 4)], lambda x: F.adaptive_max_pool2d(x, (3, 6))),
    "adaptive_max_pool3d": ([(1, 2, 5, 4, 3)], lambda x: F.adaptive_max_pool3d(x, (2, 2, 5))),
}


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(root, "tests", "golden", "ops.safetensors")
    tensors = {}
    for name, (shapes, function) in CASES.items():
        inputs = [rounded(4 * uniform(f"{name}.{i}", shape) - 2).double().requires_grad_()
                  for i, shape in enumerate(shapes)]
        y = function(*inputs)
        g = rounded(np.asarray(2 * uniform(f"{name}.g", tuple(y.shape)) - 1)).double()
        gradients = torch.autograd.grad((y * g).sum(), inputs)
        tensors[f"{name}.y"] = y.detach().numpy()
        for i, gradient in enumerate(gradients):
            tensors[f"{name}.grad.{i}"] = gradient.numpy()
    write_safetensors(path, tensors, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
