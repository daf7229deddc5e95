"""The collecting half: load of the processor and of GPUs."""

from __future__ import annotations

from typing import Any

from .collecting import Problems, collect
from .manifest import NAME
from .nvidia import read_gpus
from .processor import Processor

problems = Problems(NAME)
processor = Processor()


def get_payload() -> dict[str, float]:
    """Load of the processor and of each core since the previous call, and of each GPU, in %. What fails is left out."""
    return collect(
        problems,
        {"processor": processor.load, "GPUs": _gpus},
        expected="a load of 0 to 100 %",
        is_valid=lambda load: 0 <= load <= 100,
    )


def _gpus() -> dict[str, float | None]:
    def load(pynvml: Any, device: Any) -> Any:
        return pynvml.nvmlDeviceGetUtilizationRates(device).gpu

    return read_gpus(problems, load)
