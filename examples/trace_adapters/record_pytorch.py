"""Record a VAN written in PyTorch under minivan's layer names, to be compared with minivan's trace:

    python -m minivan oracle record cat.jpg --model WEIGHTS -o trace.safetensors
    python examples/trace_adapters/record_pytorch.py trace.safetensors my_van.py -o port.npz
    python -m minivan oracle compare trace.safetensors port.npz

my_van.py defines `build()`, which returns the torch.nn.Module with its weights loaded. Modules that carry the authors' names
(`block1.0.attn.proj_1`), Hugging Face's or OpenMMLab's need nothing else; for others give `compare` a --map. Results that no
module of its own makes (`layer_scale_1`, `pool`) are left out: `compare` judges everything else, counts them as unchecked and
exits with 1, unless it is asked with --layers for what the port shows. The input is the trace's own, in the network's dtype.

With --gradients, of a trace that `oracle record --gradients` wrote, the network runs forward and backward as the trace did: in
its form, from the cross-entropy to the trace's targets. Gradients by modules' outputs and by parameters are recorded under
`gradient.NAME`, and BatchNorm's running statistics after the batch under their own names.
"""

import argparse
import dataclasses
import runpy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from minivan.oracle import read_trace
from minivan.oracle.gradients import PREFIX, Loss, said_in
from minivan.oracle.naming import known, of_library
from minivan.paths import INPUT, parameter
from minivan.variants import RUNNING


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return what a module gives, or the first tensor in it: the authors' patch embedding gives (x, height, width), Hugging
    Face's models a dataclass or a dict.
    """
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        output = output.values()
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        output = [getattr(output, field.name) for field in dataclasses.fields(output)]
    if not isinstance(output, Iterable) or isinstance(output, str):
        return None
    return next((found for part in output if (found := first_tensor(part)) is not None), None)


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers; those of bfloat16, which NumPy has not, as their bits, which `compare` knows again."""
    values = tensor.detach().cpu()
    if values.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.numpy()


def record(net: torch.nn.Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network on images and return the output of each of its modules under the module's name, in order."""
    first = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    images = torch.from_numpy(x).to(first.device, first.dtype)
    outputs = {INPUT: numbers(images)}
    handles = []
    for name, module in net.named_modules():

        def keep(module: torch.nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                outputs[name] = numbers(tensor)

        if name:
            handles.append(module.register_forward_hook(keep))
    try:
        with torch.inference_mode():
            net.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def record_gradients(net: torch.nn.Module, x: np.ndarray, loss: Loss) -> dict[str, np.ndarray]:
    """Run a network forward and backward; return what `record` does, the running statistics, and the gradients."""
    first = next(p for p in net.parameters() if p.is_floating_point())
    images = torch.from_numpy(x).to(first.device, first.dtype).requires_grad_()
    outputs: dict[str, torch.Tensor] = {INPUT: images}
    handles = []
    for name, module in net.named_modules():

        def keep(module: torch.nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.requires_grad:
                tensor.retain_grad()
                outputs[name] = tensor

        handles.append(module.register_forward_hook(keep))
    try:
        logits = first_tensor(net.train(loss.form == "training")(images))
    finally:
        for handle in handles:
            handle.remove()
    target = torch.tensor(loss.target, device=first.device)
    torch.nn.functional.cross_entropy(logits, target, reduction=loss.reduction).backward()
    outputs.pop("", None)  # the whole network's
    found = {name: numbers(tensor) for name, tensor in outputs.items()}
    if loss.form == "training":
        found |= {name: numbers(buffer) for name, buffer in net.named_buffers() if name.endswith(RUNNING)}
    found |= {f"{PREFIX}{name}": numbers(tensor.grad) for name, tensor in outputs.items() if tensor.grad is not None}
    by_parameters = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return found | {f"{PREFIX}{parameter(name)}": numbers(gradient) for name, gradient in by_parameters.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a VAN written in PyTorch under minivan's layer names.")
    parser.add_argument("trace", help="a trace of minivan's: its input is used, and its layers' names")
    parser.add_argument("model", help="a Python file that defines build() -> torch.nn.Module")
    parser.add_argument("-o", "--output", required=True, help="the .npz to write")
    parser.add_argument("--all", action="store_true", help="keep modules whose names are not in the trace, for a --map")
    parser.add_argument("--gradients", action="store_true", help="run backward too, and record what a trace of gradients holds")
    args = parser.parse_args()
    trace = read_trace(args.trace)
    if trace.input is None:
        parser.error(f"{args.trace} does not hold its input")
    loss = said_in(trace.metadata)
    if args.gradients and loss is None:
        parser.error(f"{args.trace} holds no gradients: record it with `oracle record --gradients`")
    net = runpy.run_path(args.model)["build"]()
    layers = record_gradients(net, trace.input, loss) if args.gradients and loss else record(net, trace.input)
    if library := known(layers, trace.layers):
        print(f"the modules' names are those of {library}")
        layers = of_library(layers, library, trace.layers)
    kept = {name: array for name, array in layers.items() if args.all or name in trace.layers or name == INPUT}
    np.savez(args.output, **kept)
    print(f"{args.output}: {len(kept)} of {len(layers)} arrays; the trace has {len(trace.layers)} layers")


if __name__ == "__main__":
    main()
