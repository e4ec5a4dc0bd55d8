"""The cutting-set method's memory, for nets: the worst perturbations of each example are kept, and gone on from."""

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
    """Perturbations by example: a table that grows up to a limit, and the place of each example in it.

    An example is known by a hash of its bytes: no attack has to be told of indices, and an example that was augmented
    or shifted is simply another one.
    """

    limit: int
    keep: int
    places: dict[bytes, int] = attrs.field(factory=dict)
    table: Tensor | None = None
    """(room, keep, *shape), of the type and on the device that it began with; not a number where there is none yet."""

    @classmethod
    def restored(cls, limit: int, keys: Tensor, table: Tensor) -> Scenarios:
        """The table of a state: keys (examples, 16) in bytes, and what is kept of each, (examples, keep, *shape)."""
        places = {bytes(key): place for place, key in enumerate(keys.tolist())}
        return cls(limit, table.shape[1], places, table.clone())

    def keys(self) -> Tensor:
        """The hashes of the examples in the order of their places, (examples, 16), in bytes."""
        import torch

        return torch.tensor([list(key) for key in self.places], dtype=torch.uint8).reshape(-1, KEY_BYTES)

    def places_of(self, x: Tensor) -> Tensor:
        """The place of each example, given out in the order of first sight; −1 once there is no more room."""
        import torch

        rows = x.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
        keys = [hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest() for row in rows]
        for key in keys:
            if len(self.places) < self.limit:
                self.places.setdefault(key, len(self.places))
        return torch.tensor([self.places.get(key, -1) for key in keys], dtype=torch.long, device=x.device)

    def at(self, places: Tensor, like: Tensor) -> Tensor:
        """What is kept at these places, (rows, keep, *shape), in the type and on the device of ``like``."""
        table = self._grown(like)
        found = table[places.clamp(min=0).to(table.device)].to(like)
        found[places < 0] = float("nan")
        return found

    def put(self, places: Tensor, deltas: Tensor) -> None:
        """Replace what is kept; of an example that stands twice in a batch the last one stays."""
        table, there = self._grown(deltas[:, 0]), places >= 0
        last = {place: row for row, place in enumerate(places[there].tolist())}
        table[list(last)] = deltas[there][list(last.values())].to(table)

    def _grown(self, like: Tensor) -> Tensor:
        """The table with room for every place; twice as much as before where that is more than is needed."""
        have = 0 if self.table is None else len(self.table)
        if self.table is None or have < len(self.places):
            room = min(self.limit, max(2 * have, len(self.places), 1))
            table = like.new_full((room, self.keep, *like.shape[1:]), float("nan"))
            if self.table is not None:
                table[:have] = self.table
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

    attack: Annotated[Attack, "what is run, in brackets: (pgd:steps=5,step=0.5)"] = attrs.field(
        factory=lambda: Pgd(steps=5, step=0.5)
    )
    keep: Annotated[int, "perturbations kept for each example"] = attrs.field(default=1, validator=ge(1))
    examples: Annotated[int, "most examples that are remembered"] = attrs.field(default=60_000, validator=ge(1))
    _past: dict[Any, Scenarios] = attrs.field(factory=dict, init=False, repr=False, eq=False)
    """What is kept for each form that examples and δ have: their shapes and types."""

    @property
    def linear_share(self) -> float:
        """What the attack itself promises."""
        return self.attack.linear_share

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The passes of the attack, and ``keep + 1`` forward passes of examples that are remembered."""
        import torch

        from robustfw.regions import wide

        if not len(problem):
            return problem.region.zero()
        like = problem.region.like
        form = (tuple(problem.x.shape[1:]), problem.x.dtype, tuple(like.shape[1:]), like.dtype)
        past = self._past.setdefault(form, Scenarios(self.examples, self.keep))
        places = past.places_of(problem.x)
        kept = past.at(places, like)
        best, values = Best.none_yet(problem), like.new_full(kept.shape[:2], -torch.inf, dtype=wide(like.dtype))
        for j in range(self.keep):
            rows = (~kept[:, j].isnan().flatten(1).any(1)).nonzero()[:, 0]
            if len(rows):
                kept[rows, j] = problem.region[rows].project(kept[rows, j])
                values[rows, j] = problem[rows].value(kept[rows, j]).to(values)
                best.offer(kept[rows, j], values[rows, j], rows)
        old = values.isfinite().any(1)
        found = Best.none_yet(problem)
        for rows, goes_on in ((old & best.unsolved, True), (~old & best.unsolved, False)):
            self._attack(problem, rows.nonzero()[:, 0], best, found, generator, goes_on=goes_on)
        past.put(places, _worst(kept, values, found))
        best.offer(found.delta, found.value)
        return best.delta

    def state_dict(self) -> dict[str, Any]:
        """What is remembered: tensors, and under ``"forms"`` what JSON can hold.

        For form number i, ``"keys.i"`` are the examples' hashes, uint8 (examples, 16), and ``"table.i"`` the kept δ,
        (examples, keep, *shape), not a number where there is none yet.
        """
        state: dict[str, Any] = {"forms": []}
        remembered = [(form, past) for form, past in self._past.items() if past.table is not None]
        for i, ((shape, kind, delta_shape, delta_kind), past) in enumerate(remembered):
            assert past.table is not None  # as chosen
            state["forms"].append(
                {
                    "shape": list(shape),
                    "dtype": str(kind).removeprefix("torch."),
                    "delta_shape": list(delta_shape),
                    "delta_dtype": str(delta_kind).removeprefix("torch."),
                }
            )
            state[f"keys.{i}"] = past.keys()
            state[f"table.{i}"] = past.table[: len(past.places)].clone()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what a state holds instead of what was remembered before.

        Raises:
            UsageError: the state is of a memory that keeps another number of δ, or more examples; or it is none.
        """
        past: dict[Any, Scenarios] = {}
        for i, form in enumerate(state["forms"]):
            keys, table = state[f"keys.{i}"], state[f"table.{i}"]
            delta_shape = tuple(form["delta_shape"])
            if keys.shape != (len(table), KEY_BYTES) or tuple(table.shape[2:]) != delta_shape:
                raise UsageError(
                    f"this is no state of a memory: {tuple(keys.shape)} keys, a {tuple(table.shape)} table"
                )
            if table.shape[1] != self.keep or len(keys) > self.examples:
                raise UsageError(
                    f"this memory keeps {self.keep} perturbations of up to {self.examples} examples, the state has "
                    f"{table.shape[1]} of {len(keys)}: resume with the options of the run that wrote it"
                )
            key = (tuple(form["shape"]), _dtype(form["dtype"]), delta_shape, _dtype(form["delta_dtype"]))
            past[key] = Scenarios.restored(self.examples, keys, table)
        self._past.clear()
        self._past.update(past)

    def _attack(
        self, problem: InnerProblem, rows: Tensor, best: Best, found: Best, generator: torch.Generator, *, goes_on: bool
    ) -> None:
        """Run the attack on some rows, from the best that is known of them if there is something to go on from."""
        if not len(rows):
            return
        rest = problem[rows]
        if goes_on:
            rest = attrs.evolve(rest, start=best.delta[rows])
        delta = self.attack.maximize(rest, generator)
        found.offer(delta, rest.value(delta), rows)


def _dtype(name: str) -> torch.dtype:
    """The type of tensors that a state names."""
    import torch

    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype):
        raise UsageError(f"this is no state of a memory: there is no type {name!r}")
    return kind


def _worst(kept: Tensor, values: Tensor, found: Best) -> Tensor:
    """The worst of what was kept and found, as many as were kept, the worst first; what was found again counts once."""
    import torch

    new = found.delta[:, None]
    again = (kept == new).flatten(2).all(2) & (found.value > -torch.inf)[:, None]
    values = torch.cat([found.value[:, None], values.masked_fill(again, -torch.inf)], 1)
    every = torch.cat([new, kept.masked_fill(again.reshape(*again.shape, *[1] * (kept.dim() - 2)), torch.nan)], 1)
    order = values.argsort(dim=1, descending=True, stable=True)[:, : kept.shape[1]]
    row = torch.arange(len(every), device=order.device)[:, None]
    nothing = (values[row, order] == -torch.inf).reshape(*order.shape, *[1] * (kept.dim() - 2))
    return every[row, order].masked_fill(nothing, torch.nan)
