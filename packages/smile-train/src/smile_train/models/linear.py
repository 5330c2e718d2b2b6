"""Linear layers in float32 on x86 processors, by oneDNN instead of MKL.

Torch multiplies float32 matrices by MKL there, which keeps to AVX2 on other processors than its
maker's: oneDNN takes half the time with AVX-512, and 0.8 of it with AVX2 (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

ONE_DNN = (
    torch.backends.mkl.is_available()
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether there are both to choose between."""
WIDE = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""With AVX2 alone MKL is the faster one at gradients of weights."""


class Linear(nn.Linear):
    """`nn.Linear`, faster in float32 on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        return linear(input, self.weight, self.bias)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`, faster in float32 on a CPU: (…, in), (out, in) and (out,) to (…, out)."""
    if (
        ONE_DNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) is torch.Tensor
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
    ):
        return _OneDnnLinear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


def quicken(module: Any) -> Any:
    """Have the linear layers of a frozen model of others computed so; returns the model."""
    for part in module.modules():
        if type(part) in (nn.Linear, NonDynamicallyQuantizableLinear):
            part.__class__ = Linear
    return module


def _multiply(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """(n, in) and (out, in) to (n, out)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _OneDnnLinear(torch.autograd.Function):
    """The layer and its gradients as three products."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _multiply(rows, weight.t()).view_as(x)
        if ctx.needs_input_grad[1]:
            inputs = x.flatten(0, -2)
            of_weight = _multiply(rows.t(), inputs.t()) if WIDE else rows.t() @ inputs
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias
