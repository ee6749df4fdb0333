#!/usr/bin/env python3
"""Print what the compiler made of each CUDA kernel, without a GPU: registers, shared memory, instructions of the inner
loop by kind, and the time that a model predicts.

    kernel_report.py FILE... [--arch sm_90a] [--match REGEX] [--json] [--cuobjdump PROGRAM]
                     [--multiprocessors 132] [--ghz 1.75] [--launch REGEX=BLOCKS,THREADS,STEPS]...

FILE is an object of a .cu file, a library or a program that contains machine code for --arch, as build/libweft.a does.
cuobjdump comes with the CUDA toolkit (Python package nvidia-cuda-cuobjdump). The inner loop is the loop without a loop
inside that has the most instructions of tensor cores, then of all; a kernel without a loop is counted as a whole. "step ns" and "launch us" are
predictions of a model, never measurements: a launch takes 1.9 us; a step of the inner loop takes its instructions times
1.7 cycles where a scheduler has one warp, one cycle for each instruction of each warp where it has several, and at
least 750 cycles where it loads from global memory and waits at a barrier. Blocks beyond those that are resident at once
run in further waves. Bandwidth of memory is not in the model. --launch prints the time of kernels whose name matches
for a number of blocks, threads of a block and steps of the inner loop.
"""
import argparse
import collections
import json
import re
import subprocess
import sys

LAUNCH_US, LONE_CYCLES, LEAST_CYCLES = 1.9, 1.7, 750
TENSOR_CORE = {"HMMA", "DMMA", "IMMA", "HGMMA"}
SCHEDULERS, REGISTERS, SHARED_BYTES, MOST_WARPS, MOST_BLOCKS = 4, 65536, 227 << 10, 64, 32
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")


def output_of(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def demangled(names):
    """{name: the kernel's name and template arguments}."""
    names = list(names)
    lines = subprocess.run(["c++filt"], input="\n".join(names), check=True, stdout=subprocess.PIPE,
                           text=True).stdout.splitlines()
    return {name: short(line) for name, line in zip(names, lines)}


def short(signature):
    """Without the return type, the namespaces and the parameters."""
    text = re.sub(r"\(anonymous namespace\)::|weft::(\w+::)*", "", signature)
    text = re.sub(r"\((?:unsigned )?(?:int|char|bool)\)", "", text)
    depth = 0
    for at, letter in enumerate(text):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            text = text[:at]
            break
    return text.removeprefix("void ")


def usages(args, file):
    """{mangled name: (registers, stack bytes, shared bytes)}."""
    found, name = {}, None
    for line in output_of([args.cuobjdump, "-res-usage", "-arch", args.arch, file]).splitlines():
        if match := re.match(r"\s*Function (\S+):", line):
            name = match[1]
        elif (match := USAGE.search(line)) and name:
            found[name] = tuple(int(number) for number in match.groups())
    return found


def listings(args, file):
    """{mangled name: [(address, opcode, operands)]}."""
    found, current = {}, None
    process = subprocess.Popen([args.cuobjdump, "-sass", "-arch", args.arch, file], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Function :" in line:
            current = found.setdefault(line.split(":", 1)[1].strip(), [])
        elif current is not None and (match := INSTRUCTION.search(line)):
            current.append((int(match[1], 16), match[2], match[3]))
    if process.wait() != 0:
        raise subprocess.CalledProcessError(process.returncode, args.cuobjdump)
    return found


def inner_loop(listing):
    """The instructions of the largest loop that has no loop inside, or of all."""
    code = [instruction for instruction in listing if instruction[1] != "NOP"]
    if code and code[-1][1] == "BRA":  # to itself, at the end of every kernel
        code.pop()
    loops = []
    for address, opcode, operands in code:
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if opcode.startswith("BRA") else None
        if target and int(target[1], 16) <= address:
            loops.append((int(target[1], 16), address))
    inner = [loop for loop in loops
             if not any(other != loop and loop[0] <= other[0] and other[1] <= loop[1] for other in loops)]
    if not inner:
        return code, code, False
    bodies = [[i for i in code if first <= i[0] <= last] for first, last in inner]
    products = lambda body: sum(opcode.split(".")[0] in TENSOR_CORE for _, opcode, _ in body)
    return code, max(bodies, key=lambda body: (products(body), len(body))), True


def blocks_resident(registers, shared, threads):
    """On one multiprocessor of compute capability 9.0; a warp's registers come in units of 256."""
    warps = (threads + 31) // 32
    warp_registers = (max(registers, 1) * 32 + 255) // 256 * 256
    by_registers = REGISTERS // (warp_registers * warps)
    by_shared = SHARED_BYTES // max(shared, 1024)  # of compute capability 9.0 `shared` has the system's 1,024 bytes
    return max(min(by_registers, by_shared, MOST_WARPS // warps, MOST_BLOCKS), 1)


def step_cycles(loop, warps):
    """Of one step of the inner loop, for `warps` warps of a scheduler."""
    kinds = {opcode.split(".")[0] for _, opcode, _ in loop}
    cycles = len(loop) * max(LONE_CYCLES, warps)
    return max(cycles, LEAST_CYCLES) if {"LDG", "BAR"} <= kinds else cycles


def launch_us(args, row, loop, rest, blocks, threads, steps):
    resident = blocks_resident(row["registers"], row["shared"], threads)
    block_warps = (threads + 31) // 32
    cycles, left = 0.0, blocks
    while left > 0:
        wave = min(left, resident * args.multiprocessors)
        per_multiprocessor = -(-wave // args.multiprocessors)
        warps = max(per_multiprocessor * block_warps / SCHEDULERS, 1)
        cycles += steps * step_cycles(loop, warps) + rest * max(LONE_CYCLES, warps)
        left -= wave
    return LAUNCH_US + cycles / args.ghz / 1e3


def rows_of(args, file):
    usage, listing = usages(args, file), listings(args, file)
    names = demangled(listing)
    for mangled, instructions in listing.items():
        if args.match and not re.search(args.match, names[mangled]):
            continue
        registers, stack, shared = usage.get(mangled, (0, 0, 0))
        code, loop, loops = inner_loop(instructions)
        kinds = collections.Counter(opcode.split(".")[0] for _, opcode, _ in loop)
        row = {"kernel": names[mangled], "registers": registers, "stack": stack, "shared": shared,
               "instructions": len(code), "loop": len(loop) if loops else 0, "kinds": dict(kinds.most_common()),
               "predicted_step_ns": round(step_cycles(loop, 1) / args.ghz, 1)}
        for pattern, blocks, threads, steps in args.launch:
            if re.search(pattern, names[mangled]):
                rest = len(code) - (len(loop) if loops else 0)
                row["predicted_launch_us"] = round(launch_us(args, row, loop, rest, blocks, threads, steps), 2)
        yield row


def launch_of(text):
    match = re.fullmatch(r"(.+)=(\d+),(\d+),(\d+)", text)
    if not match or int(match[3]) not in range(1, 1025):
        raise argparse.ArgumentTypeError(f"{text} is not REGEX=BLOCKS,THREADS,STEPS with at most 1,024 threads")
    return match[1], int(match[2]), int(match[3]), int(match[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--match", help="only kernels whose name has this regular expression")
    parser.add_argument("--json", action="store_true", help="one JSON object for each kernel")
    parser.add_argument("--cuobjdump", default="cuobjdump")
    parser.add_argument("--multiprocessors", type=int, default=132)
    parser.add_argument("--ghz", type=float, default=1.75)
    parser.add_argument("--launch", type=launch_of, action="append", default=[], metavar="REGEX=BLOCKS,THREADS,STEPS")
    args = parser.parse_args()
    kernels = 0
    for file in args.files:
        try:
            for row in rows_of(args, file):
                kernels += 1
                if args.json:
                    print(json.dumps(row))
                    continue
                kinds = " ".join(f"{kind} {count}" for kind, count in list(row["kinds"].items())[:10])
                launch = row.get("predicted_launch_us")
                print(f"{row['kernel']}\n  registers {row['registers']}, stack {row['stack']}, shared {row['shared']}, "
                      f"instructions {row['instructions']}, inner loop {row['loop'] or 'none'}: {kinds}\n"
                      f"  predicted: step ns {row['predicted_step_ns']}"
                      + (f", launch us {launch}" if launch is not None else ""))
        except FileNotFoundError:
            sys.exit(f"kernel_report.py: {args.cuobjdump} was not found; the CUDA toolkit has it, or --cuobjdump names it")
        except subprocess.CalledProcessError as error:
            sys.exit(f"kernel_report.py: {file}: {error}")
    if kernels == 0:
        sys.exit(f"kernel_report.py: no kernel for {args.arch} that matches")


if __name__ == "__main__":
    main()
