"""What the three trainings share: a warm-up and cosine learning rate, and a line of log now and then."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable

import torch

Log = Callable[[str], None]
LOG_EVERY_STEPS = 50


class ScheduledOptimizer:
    """Steps one optimizer along a warm-up and cosine schedule and logs mean losses as JSON lines."""

    def __init__(self, name: str, parameters: list[torch.nn.Parameter], lr: float, steps: int, log: Log):
        self.name, self.steps, self.log = name, steps, log
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._factor)
        self.losses: list[float] = []
        self._recent: deque[float] = deque(maxlen=LOG_EVERY_STEPS)
        self._started = time.monotonic()

    def step(self, loss: torch.Tensor) -> None:
        """One update; the loss must be finite."""
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.name}: the loss is {value} at step {len(self.losses)}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(value)
        self._recent.append(value)
        if len(self.losses) % LOG_EVERY_STEPS == 0:
            mean = sum(self._recent) / len(self._recent)
            seconds = round(time.monotonic() - self._started)
            entry = {
                "training": self.name,
                "step": len(self.losses),
                "loss": round(mean, 5),
                "seconds": seconds,
            }
            self.log(json.dumps(entry))

    def _factor(self, step: int) -> float:
        warm_up = min(1.0, (step + 1) / 100)
        return warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))


class Average:
    """An exponential moving average of some parameters; `copy_to` puts it in their place."""

    def __init__(self, parameters: list[torch.nn.Parameter], decay: float):
        self.parameters, self.decay, self.count = parameters, decay, 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes the parameters in; young averages forget faster."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self) -> None:
        """Overwrites the parameters with their average."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            parameter.copy_(value)
