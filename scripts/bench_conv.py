#!/usr/bin/env python3
"""Time the algorithms of convolutions beside PyTorch's, in turns, and print milliseconds by layer and pass.

    bench_conv.py [--model page|needle|depthwise|pointwise] [--batch N] [--algos A,B] [--rounds N] [--seconds S]
                  [--threads N] [--bench FILE]

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
ALGOS = ("automatic", "im2col", "direct", "winograd", "implicit_gemm", "copy")
MODELS = ("page", "needle", "depthwise", "pointwise")


def rows(args, *options):
    """What conv_bench prints of the model."""
    command = [args.bench, "--model", args.model, "--batch", str(args.batch), *options]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def weft_rows(args, layer):
    return rows(args, "--layer", layer["layer"], "--algo", ",".join(args.algos), "--threads", str(args.threads),
                "--seconds", str(args.seconds))


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


def torch_times(args, layer):
    """{pass: milliseconds}, the better of the two memory formats."""
    c, size, k, kernel, stride, padding, groups = (
        layer[name] for name in ("c", "size", "k", "filter", "stride", "padding", "groups"))
    best = {}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(layer["batch"], c, size, size).contiguous(memory_format=memory_format)
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
    parser.add_argument("--model", default="page", choices=MODELS)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--algos", type=lambda text: text.split(","), default=ALGOS, help="default: " + ",".join(ALGOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bench", default="build/tests/conv_bench")
    args = parser.parse_args()
    if torch is None:
        print("bench_conv.py: no PyTorch (scripts/setup.sh --bench installs it): weft alone is measured", file=sys.stderr)
    else:
        torch.set_num_threads(args.threads)
    layers = rows(args, "--list")
    samples = {}
    for _ in range(args.rounds):
        for layer in layers:
            for row in weft_rows(args, layer):
                samples.setdefault((layer["layer"], row["pass"], row["algo"]), []).append(row["ms"])
            for name, ms in (torch_times(args, layer) if torch else {}).items():
                samples.setdefault((layer["layer"], name, "PyTorch"), []).append(ms)
    columns = [*args.algos, "PyTorch"]
    print(f"{args.model}, batch {layers[0]['batch']}, f32, {args.threads} threads, ms")
    print(f"{'layer':12} {'pass':12}" + "".join(f"{name:>10}" for name in columns) + f"  PyTorch/{args.algos[0]}")
    for layer in (each["layer"] for each in layers):
        for name in PASSES:
            found = [samples.get((layer, name, column)) for column in columns]
            times = [statistics.median(each) if each else None for each in found]
            text = "".join(f"{ms:10.3f}" if ms else f"{'-':>10}" for ms in times)
            print(f"{layer:12} {name:12}{text}" + (f"  {times[-1] / times[0]:17.2f}" if times[0] and times[-1] else ""))


if __name__ == "__main__":
    main()
