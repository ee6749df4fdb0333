#!/usr/bin/env python3
"""Write what PyTorch gives for clipping, schedules and averages of a training in double precision.

    make_optim.py [OUT]    default: optim.safetensors beside this file

tests/clip_test.cpp, tests/schedule_test.cpp and tests/ema_test.cpp have the same cases by name. The file is a safetensors file of F64
tensors:

    clip.<n>.gradient                   the gradient of parameter number n
    clip_grad_norm.<case>.norm          what clip_grad_norm_ returns
    clip_grad_norm.<case>.<n>           the gradient that it leaves
    clip_grad_value.<case>.<n>          the gradient that clip_grad_value_ leaves
    schedule.<case>                     the rate of the steps 0, 1, ...
    train.x, .y                         the batch of a training of Linear, BatchNorm1d, Tanh, Linear by AdamW with clipped
                                        gradients and a schedule
    train.first.<name>, .last.<name>    the model's state before and after it
    train.average.<name>                the average of that state after it
"""
import os
import sys

import numpy as np
import torch
from torch.optim import lr_scheduler

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts"))
from make_golden import write_safetensors  # noqa: E402

SHAPES = [(3, 4), (1,), (2, 3, 1, 5), (17,)]
# name: (max_norm, norm_type)
NORMS = {"clipped": (1.5, 2.0), "within": (100.0, 2.0), "one": (1.5, 1.0), "three": (0.5, 3.0),
         "infinity": (0.25, float("inf")), "nothing": (0.0, 2.0)}
VALUES = {"half": 0.5, "wide": 50.0}
STEPS = 40
TRAINING_STEPS = 20


def warmup(optimizer, after, steps=5, start_factor=0.1):
    rising = lr_scheduler.LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
    return lr_scheduler.SequentialLR(optimizer, [rising, after(optimizer)], milestones=[steps])


def step(optimizer):
    return lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.3)


def multi_step(optimizer):
    return lr_scheduler.MultiStepLR(optimizer, milestones=[4, 9, 9, 30], gamma=0.5)


def exponential(optimizer):
    return lr_scheduler.ExponentialLR(optimizer, gamma=0.9)


SCHEDULES = {"step": step, "multi_step": multi_step, "exponential": exponential,
             "warmup_step": lambda o: warmup(o, step),
             "warmup_multi_step": lambda o: warmup(o, multi_step, 3, 0.25),
             "warmup_exponential": lambda o: warmup(o, exponential, 10, 1 / 3)}


def rates(make):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(found, dtype=torch.float64)


def parameters():
    random, made = np.random.default_rng(17), []
    for shape in SHAPES:
        made.append(torch.zeros(shape, dtype=torch.float64, requires_grad=True))
        # exact in f32, so that one file serves both dtypes
        made[-1].grad = torch.from_numpy(random.uniform(-2, 2, shape).astype(np.float32).astype(np.float64))
    return made


def trained():
    """AveragedModel copies the model in its first update, so that the decays of the following ones are EMA's."""
    torch.manual_seed(3)
    # A bias in front of the norm would have a gradient of rounding errors alone, which Adam scales up.
    model = torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.BatchNorm1d(5), torch.nn.Tanh(),
                                torch.nn.Linear(5, 1))
    model = model.double()
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64)
    tensors = {"train.x": x, "train.y": y}
    tensors |= {f"train.first.{name}": value.clone().double() for name, value in model.state_dict().items()}

    def average(averaged, value, count):  # update number n follows the copy: count is n + 1
        if not value.is_floating_point():
            return value
        decay = torch.clamp((1 + (count - 1)) / (10 + (count - 1)), max=0.5).double()
        return decay * averaged + (1 - decay) * value

    averaged = torch.optim.swa_utils.AveragedModel(model, avg_fn=average, use_buffers=True)
    averaged.update_parameters(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    schedule = warmup(optimizer, step)
    for _ in range(TRAINING_STEPS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(model)
    tensors |= {f"train.last.{name}": value.double() for name, value in model.state_dict().items()}
    tensors |= {f"train.average.{name}": value.double() for name, value in averaged.module.state_dict().items()}
    return tensors


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "optim.safetensors")
    tensors = {f"clip.{n}.gradient": p.grad for n, p in enumerate(parameters())}
    for name, (max_norm, norm_type) in NORMS.items():
        changed = parameters()
        tensors[f"clip_grad_norm.{name}.norm"] = torch.nn.utils.clip_grad_norm_(changed, max_norm, norm_type)
        tensors |= {f"clip_grad_norm.{name}.{n}": p.grad for n, p in enumerate(changed)}
    for name, clip_value in VALUES.items():
        changed = parameters()
        torch.nn.utils.clip_grad_value_(changed, clip_value)
        tensors |= {f"clip_grad_value.{name}.{n}": p.grad for n, p in enumerate(changed)}
    tensors |= {f"schedule.{name}": rates(make) for name, make in SCHEDULES.items()}
    tensors |= trained()
    write_safetensors(path, {name: x.detach().contiguous().numpy() for name, x in tensors.items()},
                      {"torch": torch.__version__})


if __name__ == "__main__":
    main()
