#!/usr/bin/env python3
"""Write the golden trajectory of the recipe dawnbench: three steps by PyTorch, on the CPU, in double precision.

    make_page_golden.py [OUT]       default: tests/golden/page_trajectory.safetensors
    make_page_golden.py --check     run variants that differ only in rounding and print how far they stray

The steps are those of weft's trainer with all of the recipe in docs/recipes.md, but for a batch of 4 images: the order
of the epoch, the augmentation, the summed loss, the rates and the decay. The initial state and u are those of
make_golden.py. The data set has 9 images of bytes floor(256 * u("page.images", i)) with the labels
floor(10 * u("page.labels", i)) and the mean and standard deviation below, so that an epoch has two steps and drops one
image. Steps 0 and 1 are epoch 4 (counted from 0), which ends at the peak of the rate; step 2 is the first of epoch 5.

The random numbers are weft's. Philox 4x32-10 has the key (seed, seed >> 32) and the counter (block, block >> 32,
stream, stream >> 32), of 32 bits each. The order of an epoch is Fisher's and Yates's shuffle from the last place on,
each step j = (w * i) >> 64 with w of the numbers 0 and 1 of the next block of stream `epoch`. Image i takes block i of
stream 2^32 + epoch; n values are drawn from 16 bits as (bits * n) >> 16: the crop's top and left from the halves of
number 0, the mirror from bit 0 of number 1, the square's top and left from the halves of number 2, low halves first.

The file is a safetensors file of F64 tensors:

    loss                    (3)    the summed loss of each step
    <step>.<name>           (17)   a parameter, running_mean or running_var after that step: its root mean square and
                                   the elements word("picked." + name, j) mod size for j = 0 ... 15
"""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import initialise, uniform, words, write_safetensors
from train_torch import PageSGD, full_resnet9

IMAGES, BATCH, STEPS, PICKED = 9, 4, 3, 16
FIRST_EPOCH, SEED = 4, 11
EPOCHS, PEAK_EPOCH, PEAK, MOMENTUM, DECAY, PADDING, CUTOUT = 24, 5, 0.4, 0.9, 5e-4, 4, 8
MEAN, STD = (0.5, 0.25, 0.375), (0.25, 0.5, 0.3125)


def philox(seed, stream, block):
    low = 2**32 - 1
    k0, k1 = seed & low, seed >> 32
    c = [block & low, block >> 32, stream & low, stream >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & low, a >> 32 ^ c[3] ^ k1, a & low]
        k0, k1 = k0 + 0x9E3779B9 & low, k1 + 0xBB67AE85 & low
    return c


def epoch_order(epoch):
    order = list(range(IMAGES))
    for block, i in enumerate(range(IMAGES, 1, -1)):
        number = philox(SEED, epoch, block)
        j = (number[1] << 32 | number[0]) * i >> 64
        order[i - 1], order[j] = order[j], order[i - 1]
    return order


def data_set():
    """Normalised in float, as a loader's batches are, then in double precision; and the labels."""
    images = np.floor(256 * uniform("page.images", (IMAGES, 3, 32, 32))).astype(np.float32)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (MEAN, STD))
    images = (images / np.float32(255) - mean) / std
    labels = np.floor(10 * uniform("page.labels", (IMAGES,))).astype(np.int64)
    return torch.from_numpy(images.astype(np.float64)), torch.from_numpy(labels)


def augmented(image, epoch, index):
    number = philox(SEED, 2**32 + epoch, index)
    below = lambda bits, n: (bits & 0xFFFF) * n >> 16
    top, left = below(number[0], 2 * PADDING + 1), below(number[0] >> 16, 2 * PADDING + 1)
    x = F.pad(image[None], (PADDING,) * 4, mode="reflect")[0, :, top:top + 32, left:left + 32].clone()
    if number[1] & 1:
        x = x.flip(2)
    top, left = below(number[2], 32 - CUTOUT + 1), below(number[2] >> 16, 32 - CUTOUT + 1)
    x[:, top:top + CUTOUT, left:left + CUTOUT] = 0
    return x


def trajectory(memory_format=torch.contiguous_format, backwards=False):
    """Yields the loss and the state by name, as live tensors, after each step."""
    model = full_resnet9().double()
    initialise(model)
    model = model.to(memory_format=memory_format)
    model.train()
    optimizer = PageSGD(model.parameters(), momentum=MOMENTUM, weight_decay=DECAY * BATCH)
    images, labels = data_set()
    per_epoch = IMAGES // BATCH
    for step in range(STEPS):
        epoch, within = FIRST_EPOCH + step // per_epoch, step % per_epoch
        picked = epoch_order(epoch)[within * BATCH:(within + 1) * BATCH]
        picked = picked[::-1] if backwards else picked
        x = torch.stack([augmented(images[i], epoch, i) for i in picked]).contiguous(memory_format=memory_format)
        loss = F.cross_entropy(model(x), labels[picked], reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        time = epoch + (within + 1) / per_epoch
        optimizer.step(np.interp(time, [0, PEAK_EPOCH, EPOCHS], [0, PEAK, 0]) / BATCH)
        yield loss.item(), {n: t for n, t in model.state_dict().items() if t.is_floating_point()}


def golden():
    tensors, losses = {}, []
    for step, (loss, state) in enumerate(trajectory()):
        losses.append(loss)
        for name, tensor in state.items():
            x = tensor.detach().contiguous().numpy().reshape(-1)
            at = (words("picked." + name, PICKED) % np.uint64(x.size)).astype(np.int64)
            tensors[f"{step}.{name}"] = np.append(np.sqrt(np.mean(x * x)), x[at])
    tensors["loss"] = np.array(losses)
    return tensors


def check():
    """The largest difference of any element relative to its tensor's root mean square, by step."""
    for variant, options in (("channels_last", {"memory_format": torch.channels_last}), ("backwards", {"backwards": True})):
        for step, ((a, x), (b, y)) in enumerate(zip(trajectory(), trajectory(**options))):
            worst = max(((x[n] - y[n]).abs().max() / x[n].pow(2).mean().sqrt()).item() for n in x)
            print(f"{variant:14} step {step}  loss {a:.6f}, off by {abs(a - b) / a:.1e}  state {worst:.1e}", flush=True)


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(root, "tests/golden/page_trajectory.safetensors"))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.check:
        return check()
    write_safetensors(args.out, golden(), {
        "description": "Three steps of page's recipe in f64; scripts/make_page_golden.py says what is stored",
        "torch": torch.__version__})
    print(f"wrote {args.out}, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
