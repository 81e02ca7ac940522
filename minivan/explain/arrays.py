"""The kinds of arrays that explanations take and return: float32, floating of any width, whole numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float32: TypeAlias = npt.NDArray[np.float32]
Real: TypeAlias = npt.NDArray[np.floating[Any]]
Whole: TypeAlias = npt.NDArray[np.integer[Any]]
