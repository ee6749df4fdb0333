#!/usr/bin/env python3
"""Time the algorithms of convolutions beside PyTorch's, in turns, and print milliseconds by layer and pass.

    bench_conv.py [--model page|needle|depthwise|pointwise] [--batch N] [--rounds N] [--seconds S] [--bench FILE]

FILE is tests/bench/conv_bench as built (default: build/tests/conv_bench). Each round times every layer by weft and then
by PyTorch, whose figure is the better of its two memory formats; the table has medians over the rounds. "copy" is
reading and writing a depthwise layer's data once. Without PyTorch, weft alone is measured.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

try:
    import torch
    import torch.nn.grad
except ImportError:
    torch = None

PASSES = ("forward", "input_grad", "weight_grad")
ALGOS = ("automatic", "im2col", "direct", "winograd", "copy")
# name: channels in, size, channels out, filter, stride, padding, groups
DEPTHWISE = {f"{c}@{size}": (c, size, c, 3, 1, 1, c)
             for c, size in ((64, 56), (128, 56), (256, 56), (128, 28), (256, 28), (512, 28), (256, 14), (512, 14))}
LAYERS = {
    "page": {"prep": (3, 32, 64, 3, 1, 1, 1), "layer1": (64, 32, 128, 3, 1, 1, 1), "res1": (128, 16, 128, 3, 1, 1, 1),
             "layer2": (128, 16, 256, 3, 1, 1, 1), "layer3": (256, 8, 512, 3, 1, 1, 1),
             "res3": (512, 4, 512, 3, 1, 1, 1)},
    "needle": {"conv1": (3, 32, 16, 7, 4, 3, 1), "conv2": (16, 8, 32, 3, 2, 1, 1), "res1": (32, 4, 32, 3, 1, 1, 1),
               "conv3": (32, 4, 64, 3, 2, 1, 1), "conv4": (64, 2, 128, 3, 2, 1, 1), "res2": (128, 1, 128, 3, 1, 1, 1)},
    "depthwise": {**DEPTHWISE, "128@56/2": (128, 56, 128, 3, 2, 1, 128)},
    "pointwise": {"64-128@28": (64, 28, 128, 1, 1, 0, 1), "256-512@14": (256, 14, 512, 1, 1, 0, 1)},
}
BATCH = {"page": 64, "needle": 128, "depthwise": 16, "pointwise": 16}


def weft_rows(bench, args, layer):
    command = [bench, "--model", args.model, "--layer", layer, "--batch", str(args.batch), "--algo", ",".join(ALGOS),
               "--threads", str(args.threads), "--seconds", str(args.seconds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def median_ms(run, seconds):
    for _ in range(3):
        run()
    start = time.perf_counter()
    run()
    block = max(1, int(0.01 / max(time.perf_counter() - start, 1e-9)))
    times, total = [], 0.0
    while total < seconds or len(times) < 5:
        start = time.perf_counter()
        for _ in range(block):
            run()
        elapsed = time.perf_counter() - start
        total += elapsed
        times.append(elapsed / block)
    return statistics.median(times) * 1e3


def torch_times(args, sizes):
    """{pass: milliseconds}, the better of the two memory formats."""
    c, size, k, kernel, stride, padding, groups = sizes
    best = {}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(args.batch, c, size, size).contiguous(memory_format=memory_format)
        weight = torch.randn(k, c // groups, kernel, kernel).contiguous(memory_format=memory_format)
        y = torch.conv2d(x, weight, None, stride, padding, 1, groups)
        g = torch.randn_like(y)

        def gradient(mask):
            return torch.ops.aten.convolution_backward(g, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False,
                                                       [0, 0], groups, mask)

        with torch.no_grad():
            runs = {"forward": lambda: torch.conv2d(x, weight, None, stride, padding, 1, groups),
                    "input_grad": lambda: gradient([True, False, False]),
                    "weight_grad": lambda: gradient([False, True, False])}
            for name, run in runs.items():
                best[name] = min(best.get(name, float("inf")), median_ms(run, args.seconds))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="page", choices=LAYERS)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bench", default="build/tests/conv_bench")
    args = parser.parse_args()
    args.batch = args.batch or BATCH[args.model]
    if torch is None:
        print("bench_conv.py: no PyTorch (scripts/setup.sh --bench installs it): weft alone is measured", file=sys.stderr)
    else:
        torch.set_num_threads(args.threads)
    samples = {}
    for _ in range(args.rounds):
        for layer, sizes in LAYERS[args.model].items():
            for row in weft_rows(args.bench, args, layer):
                samples.setdefault((layer, row["pass"], row["algo"]), []).append(row["ms"])
            for name, ms in (torch_times(args, sizes) if torch else {}).items():
                samples.setdefault((layer, name, "PyTorch"), []).append(ms)
    columns = [*ALGOS, "PyTorch"]
    print(f"{args.model}, batch {args.batch}, f32, {args.threads} threads, ms")
    print(f"{'layer':12} {'pass':12}" + "".join(f"{name:>10}" for name in columns) + "  PyTorch/automatic")
    for layer in LAYERS[args.model]:
        for name in PASSES:
            found = [samples.get((layer, name, column)) for column in columns]
            times = [statistics.median(each) if each else None for each in found]
            text = "".join(f"{ms:10.3f}" if ms else f"{'-':>10}" for ms in times)
            print(f"{layer:12} {name:12}{text}" + (f"  {times[-1] / times[0]:17.2f}" if times[-1] else ""))


if __name__ == "__main__":
    main()
