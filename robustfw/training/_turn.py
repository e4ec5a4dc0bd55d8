"""What the engine hands to an update: the batch with its loss, and the optimizer with its gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.errors import PluginError
from robustfw.inner.modes import half_precision
from robustfw.training._state import State
from robustfw.training.batch import Batch, skip_synchronisation
from robustfw.training.recipe import Recipe


@attrs.frozen(eq=False)
class EngineTurn:
    """One batch's turn in a training: the engine's `robustfw.update.Turn`."""

    recipe: Recipe
    state: State
    batch: Batch

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters."""
        return self.state.optimizer

    def loss(self, batch: Batch | None = None) -> Tensor:
        """The mean of the objective over the batch (or another one), in the training's precision.

        Raises:
            PluginError: the objective gives not one loss for each example.
        """
        batch = self.batch if batch is None else batch
        objective = self.recipe.objective
        with half_precision(
            batch.x.device, enabled=self.recipe.train.precision == "bf16"
        ):
            values = objective(batch.net, batch.x, batch.y, batch)  # type: ignore[arg-type]  # a module here
            if values.shape != (len(batch),):
                raise PluginError(
                    f"{type(objective).__name__} gave losses of shape {tuple(values.shape)} for {len(batch)} examples: "
                    "an objective gives one for each, and the engine takes their mean"
                )
            return values.mean()

    def backward(self, loss: Tensor) -> None:
        """Add ∂loss/∂θ to the parameters' gradients."""
        loss.backward()

    def clear(self) -> None:
        """Set the parameters' gradients to none."""
        self.state.optimizer.zero_grad(set_to_none=True)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Clip the gradient as the recipe says, and let the optimizer step; with a closure, return its first loss."""
        if closure is None:
            self._clip_gradients()
            self.state.optimizer.step()
            return None

        def compute_and_clip() -> Tensor:
            loss = closure()
            self._clip_gradients()
            return loss

        step: Any = (
            self.state.optimizer.step
        )  # torch says that a closure gives a float, and takes a tensor
        loss: Tensor | None = step(compute_and_clip)
        return loss

    def _clip_gradients(self) -> None:
        """Scale the gradients down to the recipe's largest norm, if it has one."""
        largest_norm = self.recipe.train.clip
        if largest_norm is not None:
            nn.utils.clip_grad_norm_(self.state.model.parameters(), largest_norm)

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """The batch in at most ``count`` parts, each with its share of the rows; gradients are averaged in the last."""
        indices = torch.arange(len(self.batch))
        pieces = [piece for piece in indices.tensor_split(count) if len(piece)]
        for number, piece in enumerate(pieces):
            rows = slice(int(piece[0]), int(piece[-1]) + 1)
            part = self.batch[rows]
            is_last = number == len(pieces) - 1
            with (
                contextlib.nullcontext()
                if is_last
                else skip_synchronisation(self.batch.net)
            ):
                yield part, len(piece) / len(self.batch)
