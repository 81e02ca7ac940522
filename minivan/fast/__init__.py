"""The engine `fast`: VAN compiled as a whole, for inference. See simd.py for the idea, network.py for the forward pass.

Read in this order: simd (vectors in Numba), matmul and depthwise (the two kernels that take 95 % of the time), border (what
is left), network (the forward pass), team (threads), pack (folded weights), plan (workspaces and batches).
"""

from .plan import Plan

__all__ = ["Plan"]
