"""PyTorch and what is built on it, or None for each where PyTorch is not installed.

A module only some of whose tests need PyTorch imports it from here, so that the others run without it:
tests/support/selection.py marks a test `torch` if it uses one of these names. Run without PyTorch, such a test fails.
"""

import importlib.util

if importlib.util.find_spec("torch"):
    import safetensors.torch as safetensors_torch
    import torch
    import torch.nn.functional as F

    from minivan.engines.torch import TORCH
    from support import torch_fpn, torch_ops, torch_van
else:
    torch = F = safetensors_torch = torch_fpn = torch_ops = torch_van = TORCH = None

__all__ = ["TORCH", "F", "safetensors_torch", "torch", "torch_fpn", "torch_ops", "torch_van"]
