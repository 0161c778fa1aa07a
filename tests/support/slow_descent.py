"""A descent written out: plain loops over the stream's positions, SGD by hand, no engine."""

import torch

from expunge.data import PairSampler
from expunge.pair import Pair


def slow_descent(model, data, stage, loss, *, seed=0, settle=None, screen=None):
    """Descend ``loss(model, forget, retain, epoch, share)``: sides as (inputs, targets) or None, share = done/total."""
    sizes = Pair(len(data.forget), len(data.retain))
    stream = PairSampler(sizes, stage.batch_size, stage.pairing, seed, stage.retain_per_forget)
    parameters, total = list(model.parameters()), stage.epochs * len(stream)
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    for number in range(total):
        epoch, step = divmod(number, len(stream))
        draw = stream.sample(epoch, step)
        sides = [
            side(examples, positions)
            for examples, positions in ((data.forget, draw.forget), (data.retain, draw.retain))
        ]
        slopes = torch.autograd.grad(loss(model, *sides, epoch, number / total), parameters)
        kept = screen and screen(sides)
        slopes = slopes if not kept else [slope * piece for slope, piece in zip(slopes, kept, strict=True)]
        move(parameters, slopes, velocity, stage.optimizer, settle and settle(sides))


def side(examples, positions):
    return (examples.inputs[positions], examples.targets[positions]) if len(positions) else None


@torch.no_grad()
def move(parameters, slopes, velocity, optimizer, passes):
    norm = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt()
    scale = 1.0 if optimizer.max_grad_norm is None else min(1.0, optimizer.max_grad_norm / (float(norm) + 1e-6))
    for index, (parameter, slope) in enumerate(zip(parameters, slopes, strict=True)):
        velocity[index] = optimizer.momentum * velocity[index] + scale * slope + optimizer.weight_decay * parameter
        change = optimizer.lr * velocity[index]
        parameter.sub_(change if passes is None else change * passes[index])
