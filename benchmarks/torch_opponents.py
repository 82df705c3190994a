"""PyTorch's contestants: one network after the other, the same compiled, and all at once by `torch.func`.

Written as PyTorch's documentation recommends. Where it leaves a choice, the one that was fastest is taken:
the fused optimiser for `eager`, and a whole step in one graph for `compiled`.
"""

from __future__ import annotations

import itertools
import os
import types
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.measure import seconds_of
from benchmarks.problems import Params, Prepared, Problem, Rows

Batches = Iterator[tuple[Tensor, Tensor]]
State = list[Tensor]  # weight, bias, weight, bias, ..., each with an axis of networks in front


class KeepDropout(nn.Module):
    """Dropout whose keep probability is a buffer.

    `nn.Dropout` keeps a Python number, which `vmap` cannot map over and for which `torch.compile` compiles
    again whenever it changes.
    """

    keep: Tensor

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.register_buffer("keep", torch.tensor(keep))

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` with units dropped, scaled by 1/keep."""
        return x * (torch.rand_like(x) < self.keep) / self.keep


def _network(problem: Problem, dropout: Callable[[], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(problem.layer_sizes)):
        if i > 0:
            layers.append(nn.ReLU())
            if problem.keep_prob is not None:
                layers.append(dropout())
        layers.append(nn.Linear(fan_in, fan_out))
    return nn.Sequential(*layers)


def _data(problem: Problem, device: str) -> tuple[Tensor, Tensor]:
    y = torch.tensor(problem.y, dtype=torch.float32 if problem.layer_sizes[-1] == 1 else torch.int64)
    return torch.tensor(problem.x, device=device), y.to(device)


def _criterion(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    if problem.layer_sizes[-1] == 1:
        return lambda logits, y: F.binary_cross_entropy_with_logits(logits.squeeze(-1), y)
    return F.cross_entropy


def _batches(problem: Problem, x: Tensor, y: Tensor, steps: int) -> Batches:
    """Yields so many batches; the rows of an epoch are gathered at once, which costs fewer calls."""
    if problem.batch_size is None:
        yield from itertools.repeat((x, y), steps)
        return
    while steps > 0:
        order = torch.randperm(len(x), device=x.device)[: problem.num_batches * problem.batch_size]
        epoch = zip(x[order].split(problem.batch_size), y[order].split(problem.batch_size), strict=True)
        yield from itertools.islice(epoch, steps)
        steps -= problem.num_batches


def _begin(rows: Rows, device: str) -> State:
    return [torch.tensor(values, device=device) for layer in rows.params for values in layer]


def _params(state: State) -> Params:
    arrays = [values.detach().cpu().numpy() for values in state]
    return list(itertools.pairwise(arrays))[::2]


def _column(values: np.ndarray, device: str) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _one_after_the_other(train: Callable[[int, int], State], rows: Rows, device: str) -> Prepared:
    """Returns a function that trains each network by `train(row, steps)`."""

    def run(steps: int) -> State:
        trained = [train(row, steps) for row in range(len(rows.l2))]
        state = [torch.stack(values) for values in zip(*trained, strict=True)]
        _wait(device)
        return state

    return Prepared(run, _params)


def eager(problem: Problem, rows: Rows, device: str = "cpu") -> Prepared:
    """Trains one network after the other, with `nn` and `optim.SGD`."""
    x, y = _data(problem, device)
    criterion, begin = _criterion(problem), _begin(rows, device)

    def train(row: int, steps: int) -> State:
        model = _network(problem, lambda: nn.Dropout(p=1 - float(rows.keep_prob[row]))).to(device)
        params = list(model.parameters())
        with torch.no_grad():
            for param, values in zip(params, begin, strict=True):
                param.copy_(values[row])
        weights = {"params": params[::2], "weight_decay": float(rows.l2[row]) / len(x)}
        biases = {"params": params[1::2]}
        optimiser = torch.optim.SGD([weights, biases], lr=float(rows.learning_rate[row]), fused=True)
        for x_batch, y_batch in _batches(problem, x, y, steps):
            optimiser.zero_grad(set_to_none=True)
            criterion(model(x_batch), y_batch).backward()
            optimiser.step()
        return [param.detach() for param in params]

    return _one_after_the_other(train, rows, device)


def _compile_anew(step: Callable[..., None], on_gpu: bool) -> Callable[..., None]:
    """Returns a step as one compiled graph, kept apart from graphs that were compiled before.

    What is compiled is kept by code, and the code of a step is the same for all problems; so it is copied.
    (`torch._dynamo.reset` would throw away the graphs of those that wait for their turn.)
    """
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # else a step would run uncompiled without a word
    step = types.FunctionType(step.__code__.replace(), step.__globals__, closure=step.__closure__)
    return torch.compile(step, fullgraph=True, dynamic=False, mode="reduce-overhead" if on_gpu else None)


def _for_cuda_graphs(params: dict[str, Tensor], device: str) -> bool:
    """Returns whether a device has CUDA graphs, for which inputs that change in place must be marked."""
    on_gpu = torch.device(device).type == "cuda"
    for param in params.values() if on_gpu else ():
        torch._dynamo.mark_static_address(param)
    return on_gpu


def compiled(problem: Problem, rows: Rows, device: str = "cpu") -> Prepared:
    """Trains one network after the other; model, loss, gradient and update are one compiled graph.

    Two graphs, of the loss and of `optim.SGD.step` as in PyTorch's tutorial, are slower for networks so
    small: autograd and the optimiser then still run in Python between them.
    """
    x, y = _data(problem, device)
    criterion, begin = _criterion(problem), _begin(rows, device)
    model = _network(problem, lambda: KeepDropout(1.0)).to(device)
    params = {name: param.detach() for name, param in model.named_parameters()}
    buffers = dict(model.named_buffers())
    on_gpu = _for_cuda_graphs(params, device)

    def loss(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return criterion(functional_call(model, (params, buffers), (x,)), y)

    # Hyperparameters are tensors: numbers would be constants of the graph.
    def step(
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        learning_rate: Tensor,
        decay: Tensor,
    ) -> None:
        gradients = grad(loss)(params, buffers, x, y)
        for name, param in params.items():
            gradient = gradients[name]
            if name.endswith("weight"):
                gradient = gradient + decay * param
            param.sub_(learning_rate * gradient)

    compiled_step = _compile_anew(step, on_gpu)

    # Rows of one tensor would have other storage offsets, and the alignment is part of what is compiled.
    rates = [value.clone() for value in _column(rows.learning_rate, device)]
    decays = [value.clone() for value in _column(rows.l2 / len(x), device)]

    @torch.no_grad()
    def train(row: int, steps: int) -> State:
        for param, values in zip(params.values(), begin, strict=True):
            param.copy_(values[row])
        for keep in buffers.values():
            keep.fill_(float(rows.keep_prob[row]))
        for x_batch, y_batch in _batches(problem, x, y, steps):
            compiled_step(params, buffers, x_batch, y_batch, rates[row], decays[row])
        return [param.clone() for param in params.values()]

    return _one_after_the_other(train, rows, device)


def vmapped(problem: Problem, rows: Rows, device: str = "cpu", compiled: bool = False) -> Prepared:
    """Trains all networks at once on the same minibatches, as the tutorial on model ensembling does.

    Networks with the same keep probability drop the same units: one draw is enough for all.

    Args:
        problem: the problem to train.
        rows: the networks.
        device: PyTorch's device.
        compiled: whether gradient and update of all networks are one compiled graph.
    """
    x, y = _data(problem, device)
    criterion, begin = _criterion(problem), _begin(rows, device)
    models = [_network(problem, lambda keep=float(keep): KeepDropout(keep)) for keep in rows.keep_prob]
    stacked, buffers = stack_module_state(models)  # pyright: ignore[reportArgumentType]
    buffers = {name: buffer.to(device) for name, buffer in buffers.items()}
    base = _network(problem, lambda: KeepDropout(1.0)).to("meta")
    del models

    def loss(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return criterion(functional_call(base, (params, buffers), (x,)), y)

    gradients_of = vmap(grad(loss), in_dims=(0, 0, None, None), randomness="same")
    learning_rate = _column(rows.learning_rate, device)
    decay = _column(rows.l2 / len(x), device)[:, None, None]
    rates = {name: learning_rate.view(-1, *[1] * (values.ndim - 1)) for name, values in stacked.items()}

    def step(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> None:
        gradients = gradients_of(params, buffers, x, y)
        for name, param in params.items():
            gradient = gradients[name]
            if name.endswith("weight"):
                # Not `param` times 1 - rate·decay: that rounds, by up to a percent of so small a decay.
                gradient.addcmul_(param, decay)
            param.addcmul_(gradient, rates[name], value=-1)

    params = {name: values.clone() for name, values in zip(stacked, begin, strict=True)}
    if compiled:
        step = _compile_anew(step, _for_cuda_graphs(params, device))

    @torch.no_grad()
    def run(steps: int) -> State:
        for param, values in zip(params.values(), begin, strict=True):
            param.copy_(values)
        for x_batch, y_batch in _batches(problem, x, y, steps):
            step(params, buffers, x_batch, y_batch)
        _wait(device)
        return [param.clone() for param in params.values()]

    return Prepared(run, _params)


def best_threads(make: Callable[[], Prepared], seconds: float) -> int:
    """Times one thread and all cores, leaves the faster set and returns it.

    Tiny networks lose more by handing work to other threads than they gain. Compiled code holds for the
    number of threads it was compiled with: what is to be timed must be made afterwards.

    Args:
        make: the function that prepares an opponent.
        seconds: the seconds for which each number is tried.
    """
    took: dict[int, float] = {}
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        torch.set_num_threads(threads)
        run, steps = make().run, 4
        run(steps)
        while (found := seconds_of(run, steps)) < seconds:
            steps *= 2
        took[threads] = min(found, seconds_of(run, steps)) / steps
    best = min(took, key=lambda threads: took[threads])
    torch.set_num_threads(best)
    return best
