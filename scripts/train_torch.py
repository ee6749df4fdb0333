#!/usr/bin/env python3
"""Train a ResNet9 on CIFAR-10 with PyTorch: the accuracy that weft's recipes are compared with.

    train_torch.py --data FOLDER [--model resnet9-narrow|resnet9] [--epochs E] [--seed S] [--threads T]

FOLDER holds the official binary files, data_batch_1.bin to data_batch_5.bin and test_batch.bin.
Pixels are scaled to 0-1 and normalised per channel; padding and cutout write 0 after that, the mean colour.

resnet9-narrow: mean cross entropy, Adam with lr 1e-3 and weight decay 1e-3, batch 128, last batch kept, 10 epochs.
        Zero-pad 3, crop 32x32, flip. Kaiming-uniform weights U(+-sqrt(6/fan_in)), biases U(+-1/sqrt(fan_in)).
resnet9: summed cross entropy, batch 512, last batch dropped, 24 epochs. Reflect-pad 4, crop 32x32, flip,
        cutout 8x8. lr rises from 0 to 0.4/512 over the first 5/24 of the epochs, then falls to 0, linearly; step
        t = 1, 2, ... uses the rate of epoch t/97. Momentum 0.9, weight decay 5e-4*512 on every parameter:
        g = -lr*(dw + wd*w); v = 0.9*v + g; w += g + 0.9*v. PyTorch's default initialisation.

Each image of a batch draws its own crop, flip and cutout. Prints one line per epoch, then one JSON object.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


def conv_bn(c_in, c_out, kernel, stride=1, bias=True):
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, bias=bias),
                         nn.BatchNorm2d(c_out), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x) + x


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def narrow_resnet9():
    """The quarter-width, strided ResNet9: 431,946 parameters."""
    return nn.Sequential(
        conv_bn(3, 16, 7, 4), conv_bn(16, 32, 3, 2), Residual(conv_bn(32, 32, 3), conv_bn(32, 32, 3)),
        conv_bn(32, 64, 3, 2), conv_bn(64, 128, 3, 2), Residual(conv_bn(128, 128, 3), conv_bn(128, 128, 3)),
        nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def full_resnet9():
    """The full-width ResNet9 of the DAWNBench entry."""
    return nn.Sequential(
        conv_bn(3, 64, 3, bias=False),
        conv_bn(64, 128, 3, bias=False), nn.MaxPool2d(2),
        Residual(conv_bn(128, 128, 3, bias=False), conv_bn(128, 128, 3, bias=False)),
        conv_bn(128, 256, 3, bias=False), nn.MaxPool2d(2),
        conv_bn(256, 512, 3, bias=False), nn.MaxPool2d(2),
        Residual(conv_bn(512, 512, 3, bias=False), conv_bn(512, 512, 3, bias=False)),
        nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, 10, bias=False), Scale(0.125))


def kaiming_init(model):
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in = layer.weight[0].numel()
            nn.init.uniform_(layer.weight, -math.sqrt(6 / fan_in), math.sqrt(6 / fan_in))
            nn.init.uniform_(layer.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))


class PageSGD:
    """Nesterov momentum with the learning rate inside the buffer."""

    def __init__(self, parameters, momentum, weight_decay):
        self.parameters = list(parameters)
        self.velocities = [torch.zeros_like(p) for p in self.parameters]
        self.momentum, self.weight_decay = momentum, weight_decay

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, lr):
        for p, v in zip(self.parameters, self.velocities):
            g = p.grad.add(p, alpha=self.weight_decay).mul_(-lr)
            v.mul_(self.momentum).add_(g)
            p.add_(g).add_(v, alpha=self.momentum)


def load(folder, names):
    """Images (n, 3, 32, 32) as bytes and labels (n), n = 10,000 per file."""
    records = []
    for name in names:
        raw = np.fromfile(os.path.join(folder, name), np.uint8)
        if raw.size != 10000 * 3073:
            raise SystemExit(f"{name}: {raw.size} bytes, expected {10000 * 3073}")
        records.append(raw.reshape(10000, 3073))
    records = np.concatenate(records)
    images = records[:, 1:].reshape(-1, 3, 32, 32).copy()
    return torch.from_numpy(images), torch.from_numpy(records[:, 0].astype(np.int64))


def normalise(images):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def augment(x, rng, padding, mode, cutout):
    """Pad, crop at a random offset, flip with probability 1/2, and cut a square of zeros out, each image by itself."""
    n, _, h, w = x.shape
    draw = lambda high: torch.from_numpy(rng.integers(0, high, n))
    windows = F.pad(x, (padding,) * 4, mode=mode).unfold(2, h, 1).unfold(3, w, 1)
    x = windows[torch.arange(n), :, draw(2 * padding + 1), draw(2 * padding + 1)]
    x = torch.where(draw(2).bool().view(n, 1, 1, 1), x.flip(3), x)
    if cutout:
        rows = torch.arange(h) - draw(h - cutout + 1)[:, None]
        columns = torch.arange(w) - draw(w - cutout + 1)[:, None]
        rows, columns = (rows >= 0) & (rows < cutout), (columns >= 0) & (columns < cutout)
        x = x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
    return x


@torch.no_grad()
def accuracy(model, images, labels, memory_format):
    model.eval()
    right = 0
    for start in range(0, len(images), 500):
        x = normalise(images[start:start + 500]).contiguous(memory_format=memory_format)
        right += (model(x).argmax(1) == labels[start:start + 500]).sum().item()
    model.train()
    return right / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", choices=["resnet9-narrow", "resnet9"], default="resnet9-narrow", help="the model and its recipe")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    full = args.model == "resnet9"
    epochs = args.epochs or (24 if full else 10)
    batch = 512 if full else 128
    memory_format = torch.channels_last if full else torch.contiguous_format
    images, labels = load(args.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test_images, test_labels = load(args.data, ["test_batch.bin"])
    starts = range(0, len(images) - batch + 1 if full else len(images), batch)

    if full:
        model = full_resnet9().to(memory_format=memory_format)
        optimizer = PageSGD(model.parameters(), momentum=0.9, weight_decay=5e-4 * batch)
        recipe = dict(padding=4, mode="reflect", cutout=8)
        reduction = "sum"
    else:
        model = narrow_resnet9()
        kaiming_init(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
        recipe = dict(padding=3, mode="constant", cutout=0)
        reduction = "mean"

    result, step, begun = {}, 0, time.perf_counter()
    for epoch in range(1, epochs + 1):
        order = torch.from_numpy(rng.permutation(len(images)))
        loss_sum = right = seen = 0
        start_time = time.perf_counter()
        for start in starts:
            picked = order[start:start + batch]
            x = augment(normalise(images[picked]), rng, **recipe).contiguous(memory_format=memory_format)
            y = labels[picked]
            logits = model(x)
            loss = F.cross_entropy(logits, y, reduction=reduction)
            optimizer.zero_grad()
            loss.backward()
            step += 1
            if full:
                optimizer.step(np.interp(step / len(starts), [0, epochs * 5 / 24, epochs], [0, 0.4, 0]) / batch)
            else:
                optimizer.step()
            loss_sum += loss.item() * (1 if full else len(y))
            right += (logits.argmax(1) == y).sum().item()
            seen += len(y)
        seconds = time.perf_counter() - start_time
        result = {"epoch": epoch, "train_loss": loss_sum / seen, "train_accuracy": right / seen,
                  "test_accuracy": accuracy(model, test_images, test_labels, memory_format),
                  "seconds": round(seconds, 2), "images_per_s": round(seen / seconds, 1)}
        print("epoch {epoch:2d}  loss {train_loss:.4f}  train {train_accuracy:.4f}  test {test_accuracy:.4f}  "
              "{seconds:.1f} s  {images_per_s:.0f} images/s".format(**result), flush=True)
    print(json.dumps({"peer": "pytorch", "version": torch.__version__, "model": args.model, "epochs": epochs,
                      "seed": args.seed, "threads": args.threads, "test_accuracy": result["test_accuracy"],
                      "total_seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
