"""The cutting-set method's memory, for nets: each example's worst perturbations so far are where the attack begins."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, final

import attrs
from attrs.validators import ge

from robustfw import Attack, UsageError
from robustfw_attacks.around import Around
from robustfw_attacks.best import Best
from robustfw_attacks.iterated import Pgd

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


KEY_BYTES = 16
"""Length of an example's hash: long enough that no two examples of a data set share one by chance."""


@attrs.define(eq=False)
class Scenarios:
    """A table of perturbations by example, which grows up to a limit, and the place of each example in it.

    An example is known by a hash of its bytes: no attack has to be told of indices, and an example that was augmented
    or shifted is simply another one.
    """

    limit: int
    """The most examples that have a place."""
    keep: int
    """The number of perturbations for each example."""
    places: dict[bytes, int] = attrs.field(factory=dict)
    """The example's hash to its row in the table."""
    table: Tensor | None = None
    """(room, keep, *shape), of the type and on the device that it began with; NaN where there is no δ yet."""

    @classmethod
    def restore(cls, limit: int, keys: Tensor, table: Tensor) -> Scenarios:
        """The table that a state holds.

        Args:
            limit: the most examples that have a place.
            keys: the examples' hashes in bytes, (examples, 16).
            table: their perturbations, (examples, keep, *shape).
        """
        places = {bytes(key): place for place, key in enumerate(keys.tolist())}
        return cls(limit, table.shape[1], places, table.clone())

    def keys(self) -> Tensor:
        """The hashes of the examples in the order of their places, (examples, 16), in bytes."""
        import torch

        return torch.tensor(
            [list(key) for key in self.places], dtype=torch.uint8
        ).reshape(-1, KEY_BYTES)

    def assign_places(self, x: Tensor) -> Tensor:
        """The place of each example, (batch,), numbered in the order of first sight; −1 once the table is full."""
        import torch

        rows = x.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
        keys = [
            hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest()
            for row in rows
        ]
        for key in keys:
            if len(self.places) < self.limit:
                self.places.setdefault(key, len(self.places))
        return torch.tensor(
            [self.places.get(key, -1) for key in keys],
            dtype=torch.long,
            device=x.device,
        )

    def get(self, places: Tensor, like: Tensor) -> Tensor:
        """The perturbations at these places, (rows, keep, *shape), in the type and on the device of ``like``.

        They are NaN at the place −1.
        """
        table = self._grow_table(like)
        deltas = table[places.clamp(min=0).to(table.device)].to(like)
        deltas[places < 0] = float("nan")
        return deltas

    def put(self, places: Tensor, deltas: Tensor) -> None:
        """Replace the perturbations at these places, (rows,), by ``deltas``, (rows, keep, *shape).

        Where an example stands twice in a batch, its last row is stored. The place −1 is left out.
        """
        table = self._grow_table(deltas[:, 0])
        stored = places >= 0
        last_row = {place: row for row, place in enumerate(places[stored].tolist())}
        table[list(last_row)] = deltas[stored][list(last_row.values())].to(table)

    def _grow_table(self, like: Tensor) -> Tensor:
        """The table with room for every place; twice as much as before where that is more than is needed."""
        length = 0 if self.table is None else len(self.table)
        if self.table is None or length < len(self.places):
            room = min(self.limit, max(2 * length, len(self.places), 1))
            table = like.new_full((room, self.keep, *like.shape[1:]), float("nan"))
            if self.table is not None:
                table[:length] = self.table
            self.table = table
        return self.table


@final
@attrs.frozen
class Memory(Around):
    """Another attack that goes on from each example's worst perturbations so far (cutting sets: Mutapcic & Boyd 2009).

    The cutting-set method keeps the scenarios that its pessimizing oracle has found. Here they are kept per example:
    the ``keep`` worst δ are valued at the net as it is now, the attack starts at the best of them, and the result is
    the worst of all. An example that is seen for the first time is attacked as usual. An attack that starts well needs
    short steps: one that crosses the whole set, as the first of ``pgd`` without ``step`` do, forgets where it began.

    An example is known by its bytes, so augmentation that changes them each time leaves nothing to remember. The first
    ``examples`` seen have a place, the others are attacked without memory: keep·examples·4 bytes for each entry of δ.

    It is an experiment. At equal cost it found worse cases than restarts, but not worse than a single longer run of
    ``pgd`` whose steps shrink (`benchmarks/memory.py`).

    **Where it is kept.** The memory lives in this object. `state_dict` gives it as tensors and plain values, and
    `load_state_dict` takes it back, in another process, too; a training that is resumed without it begins with an
    empty one, and is not bit for bit the uninterrupted one. A deep copy has a memory of its own. Several processes have
    one each. What is attacked with the same object later, such as validation examples, depends on what was attacked
    before: give ``validation_attack`` for numbers that depend on the net alone.
    """

    attack: Annotated[Attack, "what is run, in brackets: (pgd:steps=5,step=0.5)"] = (
        attrs.field(factory=lambda: Pgd(steps=5, step=0.5))
    )
    keep: Annotated[int, "perturbations kept for each example"] = attrs.field(
        default=1, validator=ge(1)
    )
    examples: Annotated[int, "most examples that are remembered"] = attrs.field(
        default=60_000, validator=ge(1)
    )
    _past: dict[Any, Scenarios] = attrs.field(
        factory=dict, init=False, repr=False, eq=False
    )
    """A table for each form of examples and δ: their shapes and types."""

    @property
    def linear_share(self) -> float:
        """The inner attack's share."""
        return self.attack.linear_share

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The worst of the remembered δ and the inner attack's, (batch, *shape).

        It takes the passes of the attack, and ``keep + 1`` forward passes of examples that are remembered.
        """
        import torch

        from robustfw.regions import wide

        if not len(problem):
            return problem.region.zero()
        like = problem.region.like
        form = (
            tuple(problem.x.shape[1:]),
            problem.x.dtype,
            tuple(like.shape[1:]),
            like.dtype,
        )
        past = self._past.setdefault(form, Scenarios(self.examples, self.keep))
        places = past.assign_places(problem.x)
        # 1. evaluate the remembered δ at the net as it is now
        deltas = past.get(places, like)
        values = like.new_full(deltas.shape[:2], -torch.inf, dtype=wide(like.dtype))
        best = Best.empty(problem)
        for j in range(self.keep):
            rows = (~deltas[:, j].isnan().flatten(1).any(1)).nonzero()[:, 0]
            if len(rows):
                deltas[rows, j] = problem.region[rows].project(deltas[rows, j])
                values[rows, j] = problem[rows].value(deltas[rows, j]).to(values)
                best.offer(deltas[rows, j], values[rows, j], rows)
        # 2. attack: known examples from their best δ, new ones as usual
        known = values.isfinite().any(1)
        new = Best.empty(problem)
        known_rows = (known & best.open_mask).nonzero()[:, 0]
        new_rows = (~known & best.open_mask).nonzero()[:, 0]
        if len(known_rows):
            begun = attrs.evolve(problem[known_rows], start=best.delta[known_rows])
            self._attack_rows(begun, known_rows, new, generator)
        if len(new_rows):
            self._attack_rows(problem[new_rows], new_rows, new, generator)
        # 3. remember the worst of both
        past.put(places, _merge_worst(deltas, values, new))
        best.offer(new.delta, new.value)
        return best.delta

    def state_dict(self) -> dict[str, Any]:
        """The memory as tensors, and under ``"forms"`` what JSON can hold.

        For form number i, ``"keys.i"`` are the examples' hashes, uint8 (examples, 16), and ``"table.i"`` the stored δ,
        (examples, keep, *shape), NaN where there is none yet.
        """
        state: dict[str, Any] = {"forms": []}
        for (shape, dtype, delta_shape, delta_dtype), past in self._past.items():
            if past.table is None:
                continue
            i = len(state["forms"])
            state["forms"].append(
                {
                    "shape": list(shape),
                    "dtype": str(dtype).removeprefix("torch."),
                    "delta_shape": list(delta_shape),
                    "delta_dtype": str(delta_dtype).removeprefix("torch."),
                }
            )
            state[f"keys.{i}"] = past.keys()
            state[f"table.{i}"] = past.table[: len(past.places)].clone()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the memory by what a state of `state_dict` holds.

        Raises:
            UsageError: the state is of a memory that keeps another number of δ, or more examples; or it is none.
        """
        past: dict[Any, Scenarios] = {}
        for i, form in enumerate(state["forms"]):
            keys = state[f"keys.{i}"]
            table = state[f"table.{i}"]
            delta_shape = tuple(form["delta_shape"])
            if (
                keys.shape != (len(table), KEY_BYTES)
                or tuple(table.shape[2:]) != delta_shape
            ):
                raise UsageError(
                    f"this is no state of a memory: {tuple(keys.shape)} keys, a {tuple(table.shape)} table"
                )
            if table.shape[1] != self.keep or len(keys) > self.examples:
                raise UsageError(
                    f"this memory keeps {self.keep} perturbations of up to {self.examples} examples, the state has "
                    f"{table.shape[1]} of {len(keys)}: resume with the options of the run that wrote it"
                )
            key = (
                tuple(form["shape"]),
                _parse_dtype(form["dtype"]),
                delta_shape,
                _parse_dtype(form["delta_dtype"]),
            )
            past[key] = Scenarios.restore(self.examples, keys, table)
        self._past.clear()
        self._past.update(past)

    def _attack_rows(
        self,
        problem: InnerProblem,
        rows: Tensor,
        best: Best,
        generator: torch.Generator,
    ) -> None:
        """Run the inner attack on the problem of some rows, and offer its δ to ``best``."""
        delta = self.attack.maximize(problem, generator)
        best.offer(delta, problem.value(delta), rows)


def _parse_dtype(name: str) -> torch.dtype:
    """The torch type that a state names, such as "float32"."""
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(f"this is no state of a memory: there is no type {name!r}")
    return dtype


def _merge_worst(deltas: Tensor, values: Tensor, new: Best) -> Tensor:
    """The worst of the remembered δ and the new one of each row, (rows, keep, *shape), the worst first.

    A new δ that equals a remembered one counts once. ``deltas`` are the remembered ones, (rows, keep, *shape), and
    ``values`` theirs, (rows, keep), −∞ where there is none.
    """
    import torch

    keep = deltas.shape[1]
    ones = [1] * (
        deltas.dim() - 2
    )  # trailing axes by which a mask (rows, keep) goes with δ
    # 1. forget remembered δ that the attack has come to again
    candidate = new.delta[:, None]
    again = (deltas == candidate).flatten(2).all(2) & (new.value > -torch.inf)[:, None]
    values = torch.cat([new.value[:, None], values.masked_fill(again, -torch.inf)], 1)
    deltas = torch.cat(
        [candidate, deltas.masked_fill(again.reshape(*again.shape, *ones), torch.nan)],
        1,
    )
    # 2. sort by value
    order = values.argsort(dim=1, descending=True, stable=True)[:, :keep]
    row = torch.arange(len(deltas), device=order.device)[:, None]
    # 3. what has no value is no δ
    empty = (values[row, order] == -torch.inf).reshape(*order.shape, *ones)
    return deltas[row, order].masked_fill(empty, torch.nan)
