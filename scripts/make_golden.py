#!/usr/bin/env python3
"""Write the golden trajectory: five training steps of the narrow ResNet9 by PyTorch, on the CPU, in double precision.

    make_golden.py [OUT]       default: tests/golden/needle_trajectory.safetensors
    make_golden.py --check     run variants that differ only in rounding and print how far they stray

Nothing random is stored: the initial state and the batches come from a generator that any language can repeat.

    fnv1a64(s)        h = 0xCBF29CE484222325; for each byte b of s: h = (h xor b) * 0x00000100000001B3
    word(s, i)        z = fnv1a64(s) + (i + 1) * 0x9E3779B97F4A7C15;     (splitmix64's output i = 0, 1, ...
                      z = (z xor (z >> 30)) * 0xBF58476D1CE4E5B9;         from the seed fnv1a64(s))
                      z = (z xor (z >> 27)) * 0x94D049BB133111EB;  the word is z xor (z >> 31)
    u(s, i)           (word(s, i) >> 11) * 2^-53, uniform in [0, 1)
    t(s, i)           2 * u(s, i) - 1

All integers are unsigned 64 bits and wrap around. i counts a tensor's elements in row-major order of its PyTorch
shape. Every value is computed in double precision as written and rounded once to float, so that a run in f32
and a run in f64 start from the same numbers. s is the name in state_dict(), or as given here:

    weight, bias of a convolution or linear layer    t / sqrt(fan_in), fan_in that of the layer's weight for both
    weight, bias of a batch norm                     1 + 0.1 * t, 0.1 * t
    running_mean, running_var                        0, 1
    "images.<step>" (16, 3, 32, 32)                  2 * t
    "labels.<step>" (16)                             floor(10 * u)

Steps count from 0 to 4; every step takes its own batch, both optimizers take the same batches. The loss is the mean
cross entropy. "sgd" is SGD with lr 0.05, Nesterov momentum 0.9, weight decay 5e-4; "adam" is Adam with
lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight decay 1e-3 added to the gradient.

The file is a safetensors file of F64 tensors:

    <optimizer>.loss        (5)   the loss of each step in the f64 run
    <optimizer>.loss_f32    (5)   the same from PyTorch's own f32 run
    <optimizer>.<step>.grad.<name>      (34)   a parameter's gradient in that step, without weight decay
    <optimizer>.<step>.param.<name>     (34)   the parameter after that step
    <optimizer>.<step>.buffer.<name>    (34)   running_mean or running_var after that step

The 34 numbers sum a tensor x up:

    [0]         its 2-norm
    [1 + j]     sum over i of x(i) * (bit j of word("signs." + name, i) ? -1 : +1), for j = 0 ... 31
    [33]        the scale for a relative tolerance: the 2-norm; but a convolution's bias has no gradient before a batch
                norm, only rounding noise, so for its gradient the 2-norm of the layer's weight gradient if larger

For a tensor y that should equal x, the mean over j of (projection_j(y) - [1 + j])^2 estimates |y - x|^2, with a
relative deviation of sqrt(2 / 32); a difference that all 32 projections miss does not exist in practice.
"""
import argparse
import json
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from train_torch import narrow_resnet9

STEPS, BATCH, PROJECTIONS = 5, 16, 32
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3),
}


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x00000100000001B3 % 2**64
    return h


def words(name, count):
    z = np.uint64(fnv1a64(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def uniform(name, shape):
    return ((words(name, int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53).reshape(shape)


def rounded(values):
    """Double precision rounded to float, for a copy into a tensor of either type."""
    return torch.from_numpy(values.astype(np.float32))


def batch(step, dtype):
    images = rounded(2 * (2 * uniform(f"images.{step}", (BATCH, 3, 32, 32)) - 1)).to(dtype)
    labels = torch.from_numpy(np.floor(10 * uniform(f"labels.{step}", (BATCH,))).astype(np.int64))
    return images, labels


@torch.no_grad()
def initialise(model):
    for layer_name, layer in model.named_modules():
        for name, parameter in layer.named_parameters(recurse=False):
            t = 2 * uniform(f"{layer_name}.{name}", tuple(parameter.shape)) - 1
            if isinstance(layer, nn.BatchNorm2d):
                t = 1 + 0.1 * t if name == "weight" else 0.1 * t
            else:
                t = t / np.sqrt(float(layer.weight[0].numel()))
            parameter.copy_(rounded(t))


SIGNS = {}


def summary(name, tensor):
    """The 2-norm and the 32 projections."""
    x = tensor.detach().contiguous().numpy().reshape(-1)
    if name not in SIGNS:
        bits = words("signs." + name, x.size)[:, None] >> np.arange(PROJECTIONS, dtype=np.uint64) & np.uint64(1)
        SIGNS[name] = 1 - 2 * bits.astype(np.int8)
    return np.concatenate([[np.sqrt(np.sum(x * x))], np.sum(x[:, None] * SIGNS[name], axis=0)])


def trajectory(optimizer_name, dtype, memory_format=torch.contiguous_format, order=slice(None)):
    """Yields (loss, gradients, parameters, buffers) of each step, the last three by name, as live tensors."""
    model = narrow_resnet9().to(dtype)
    initialise(model)
    model = model.to(memory_format=memory_format)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    for step in range(STEPS):
        images, labels = batch(step, dtype)
        loss = F.cross_entropy(model(images[order].contiguous(memory_format=memory_format)), labels[order])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        parameters = dict(model.named_parameters())
        gradients = {name: p.grad for name, p in parameters.items()}
        yield loss.item(), gradients, parameters, {n: b for n, b in model.named_buffers() if b.is_floating_point()}


def scales(gradients):
    """What a gradient's error is measured against: see [33] above."""
    result = {name: torch.linalg.vector_norm(g).item() for name, g in gradients.items()}
    for name, g in gradients.items():
        if g.dim() == 4:
            bias = name.replace("weight", "bias")
            result[bias] = max(result[bias], result[name])
    return result


def golden():
    tensors = {}
    for kind in OPTIMIZERS:
        losses = []
        for step, (loss, gradients, parameters, buffers) in enumerate(trajectory(kind, torch.float64)):
            losses.append(loss)
            scale = scales(gradients)
            for name, g in gradients.items():
                tensors[f"{kind}.{step}.grad.{name}"] = np.append(summary(name, g), scale[name])
            for what, group in (("param", parameters), ("buffer", buffers)):
                for name, x in group.items():
                    row = summary(name, x)
                    tensors[f"{kind}.{step}.{what}.{name}"] = np.append(row, row[0])
        tensors[f"{kind}.loss"] = np.array(losses)
        tensors[f"{kind}.loss_f32"] = np.array([loss for loss, *_ in trajectory(kind, torch.float32)])
    return tensors


def write_safetensors(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F64", "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            file.write(x.astype("<f8").tobytes())


def check():
    """Worst relative difference of each kind of tensor between the golden run and runs that only round otherwise."""
    order = torch.tensor([(7 * i + 3) % BATCH for i in range(BATCH)])
    variants = {"2 threads": (2, {}), "channels_last": (1, {"memory_format": torch.channels_last}),
                "batch permuted": (1, {"order": order}),
                "all three": (2, {"memory_format": torch.channels_last, "order": order})}
    for kind in OPTIMIZERS:
        for variant, (threads, options) in variants.items():
            worst = {}
            base, other = trajectory(kind, torch.float64), trajectory(kind, torch.float64, **options)
            for step in range(STEPS):
                torch.set_num_threads(1)
                loss, gradients, parameters, buffers = next(base)
                torch.set_num_threads(threads)
                other_loss, other_gradients, other_parameters, other_buffers = next(other)
                scale = scales(gradients)
                rows = [(abs(loss - other_loss) / loss, "loss", f"step {step}")]
                for what, xs, ys in (("grad", gradients, other_gradients), ("param", parameters, other_parameters),
                                     ("buffer", buffers, other_buffers)):
                    for name, x in xs.items():
                        size = scale[name] if what == "grad" else torch.linalg.vector_norm(x).item()
                        rows.append((torch.linalg.vector_norm(x - ys[name]).item() / size, what, f"{name} step {step}"))
                for error, what, where in rows:
                    worst[what] = max(worst.get(what, (0, "")), (error, where))
            found = (f"{what} {error:.1e} ({where})" for what, (error, where) in worst.items())
            print(f"{kind:5}{variant:15}" + "  ".join(found))
    torch.set_num_threads(1)
    for kind in OPTIMIZERS:
        pairs = zip(trajectory(kind, torch.float64), trajectory(kind, torch.float32))
        print(f"{kind:5}f32 losses against f64: " + " ".join(f"{abs(b[0] / a[0] - 1):.1e}" for a, b in pairs))


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(root, "tests/golden/needle_trajectory.safetensors"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.check:
        return check()
    write_safetensors(args.out, golden(), {
        "description": "Five training steps of needle in double precision; scripts/make_golden.py says what is stored",
        "torch": torch.__version__})
    print(f"wrote {args.out}, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
