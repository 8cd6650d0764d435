"""To other tools: a few lines each. For any that is not here, `on_sample` is given every sample."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from viztool.monitor.quantities import QUANTITIES

if TYPE_CHECKING:
    from viztool.monitor.health import Health
    from viztool.monitor.sample import Sample


def to_tensorboard(writer: Any, prefix: str = "health") -> Callable[[Health, Sample], None]:
    """An `on_sample` that gives every number to a TensorBoard SummaryWriter, and each finding as text when it is there.

    >>> viztool.monitor(net, optimizer, on_sample=viztool.monitor.to_tensorboard(writer))  # doctest: +SKIP
    """

    def write(health: Health, sample: Sample) -> None:
        for layer, numbers in sample.layers.items():
            for quantity in QUANTITIES:
                if quantity in numbers:
                    writer.add_scalar(f"{prefix}/{quantity}/{layer}", numbers[quantity], sample.step)
        writer.add_scalar(f"{prefix}/findings", len(health.findings), sample.step)
        for finding in health.findings:
            writer.add_text(f"{prefix}/{finding.kind}", str(finding), sample.step)

    return write


def _callback() -> type:
    """Lightning's Callback under the name by which it is in use; a plain class if there is none."""
    for package in ("lightning.pytorch", "pytorch_lightning"):
        if package in sys.modules:
            found: type = sys.modules[package].Callback
            return found
    return object


class LightningMonitor(_callback()):  # type: ignore[misc]
    """A Callback for a Lightning Trainer: watches the module that it trains. Import Lightning before it.

    >>> Trainer(callbacks=[viztool.monitor.LightningMonitor(every=50, log="run.jsonl")])  # doctest: +SKIP

    settings: those of `monitor`. health: what it gives, from the start of the training on.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = settings
        self._state: dict[str, Any] | None = None
        self.health: Health | None = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        from viztool.monitor.health import monitor

        self.health = monitor(module, list(trainer.optimizers), **self._settings)
        if self._state is not None:
            self.health.load_state_dict(self._state)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        if self.health is not None:
            self.health.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.on_train_end(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.health is None else self.health.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state = state or None
