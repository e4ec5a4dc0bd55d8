"""An experiment: nets to be trained in several ways, and what is measured on them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from robustfw.errors import UsageError
from robustfw.plugin.options import suggest

KINDS = ("dataset", "model", "uncertainty", "attack", "objective")
Parts = dict[str, Any]


@attrs.frozen
class TransferPlan:
    """The collection of adversarial examples: against which net, within which sets, by which attack."""

    source: str
    uncertainties: tuple[str, ...]
    attack: str = "single-step"
    others: int | None = None
    """Number of test examples of the collections against the other nets, which show who fools whom."""


@attrs.frozen
class ComparisonPlan:
    """The baseline and each robust net, on the same examples."""

    attack: str = "single-step"
    examples: int | None = None


@attrs.frozen
class SweepPlan:
    """Accuracy against the radius: one curve for each net."""

    uncertainty: str
    attack: str
    radii: tuple[float, ...]
    independent: bool = False
    examples: int | None = None
    claim: bool = False
    """Whether the claim that new examples are harder to craft is decided by it."""


@attrs.frozen
class EvaluationPlan:
    """Clean and robust accuracy of each net."""

    uncertainty: str
    attacks: tuple[str, ...]
    examples: int | None = None


@attrs.frozen
class Mode:
    """A way to do the experiment: parts that it changes for all nets, for some, and nets of its own."""

    about: str
    common: Parts = attrs.field(factory=dict)
    nets: dict[str, Parts] = attrs.field(factory=dict)
    on_demand: bool = False
    """Whether it is run only where it is asked for."""


@attrs.frozen
class TrainingBudget:
    """How long to train and how much to measure."""

    train: Parts
    share: float = 1.0
    """The share of the examples that a measurement names; a measurement without a number takes all examples."""
    common: Parts = attrs.field(factory=dict)
    """Other parts that it changes, for all nets."""
    modes: tuple[str, ...] = ()
    """Those that are run where none is asked for; if it names none, all that are not on demand."""

    def examples(self, stated: int | None) -> int | None:
        """The number of examples of a measurement that states ``stated`` (None: all), within this budget."""
        if stated is None:
            return None
        return max(1, round(self.share * stated))


@attrs.frozen
class Experiment:
    """A recipe for ``robustfw reproduce``: tables as its file has them."""

    title: str
    baseline: str
    common: Parts
    nets: dict[str, Parts]
    labels: dict[str, str]
    modes: dict[str, Mode]
    budgets: dict[str, TrainingBudget]
    transfer: TransferPlan
    sweeps: tuple[SweepPlan, ...]
    evaluations: tuple[EvaluationPlan, ...]
    comparison: ComparisonPlan = ComparisonPlan()
    claims: Parts = attrs.field(factory=dict)
    """What is claimed of the nets, for the plugin that judges it (`robustfw_judge`): its name, ``use``, and figures."""
    audit: Parts = attrs.field(factory=dict)
    """Options of ``robustfw audit``; not run if empty."""
    weights: str = "best"
    """Which weights are measured: "best", of highest robust validation accuracy, or "last", of the last epoch."""
    processes: int = 2
    """Commands at a time, if there are as many cores: threads that share a net's work wait for the slower one."""

    @classmethod
    def read(cls, text: str, where: str) -> Experiment:
        """From TOML.

        Raises:
            UsageError: it is no TOML, or a table or a key of it is missing, unknown or of another form.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"the recipe {where} is not TOML: {error}") from error
        if "nets" not in tables:
            raise UsageError(
                f"the recipe {where} has no table [nets.…]: it is one for robustfw train"
            )
        if tables.get("weights", "best") not in ("best", "last"):
            raise UsageError(
                f"{where}: weights are best or last, not {tables['weights']!r}"
            )
        processes = tables.get("processes", 1)
        if type(processes) is not int or processes < 1:
            raise UsageError(
                f"{where}: processes is a whole number from 1 on, not {processes!r}"
            )
        _check_keys(cls, tables, where)
        modes, budgets = {}, {}
        for name, table in _tables_in(tables, "modes"):
            modes[name] = _build(Mode, table, f"{where}: modes.{name}")
        for name, table in _tables_in(tables, "budgets"):
            budgets[name] = _build(TrainingBudget, table, f"{where}: budgets.{name}")
        parts = {
            "modes": modes,
            "budgets": budgets,
            "transfer": _build(
                TransferPlan,
                given=tables.get("transfer", {}),
                where=f"{where}: transfer",
            ),
            "sweeps": tuple(
                _build(SweepPlan, each, f"{where}: sweeps")
                for each in tables.get("sweeps", ())
            ),
            "evaluations": tuple(
                _build(EvaluationPlan, each, f"{where}: evaluations")
                for each in tables.get("evaluations", ())
            ),
            "comparison": _build(
                ComparisonPlan,
                given=tables.get("comparison", {}),
                where=f"{where}: comparison",
            ),
        }
        return _build(cls, tables | parts, where)

    def nets_of(self, mode: str) -> list[str]:
        """The nets of a mode, the common ones first."""
        own = [name for name in self.modes[mode].nets if name not in self.nets]
        return [*self.nets, *own]

    def robust_nets(self) -> list[str]:
        """All nets but the baseline."""
        return [name for name in self.nets if name != self.baseline]

    def budget(self, name: str) -> TrainingBudget:
        """A budget by name."""
        if name not in self.budgets:
            raise UsageError(f"no budget named {name!r}; {suggest(name, self.budgets)}")
        return self.budgets[name]

    def modes_of(self, budget: str, asked: Collection[str] = ()) -> tuple[str, ...]:
        """The modes that are run: those asked for, or the budget's own, in the order of the recipe."""
        wanted = asked or self.budget(budget).modes
        for mode in wanted:
            if mode not in self.modes:
                raise UsageError(
                    f"the recipe has no mode {mode!r}; {suggest(mode, self.modes)}"
                )
        return tuple(
            name
            for name, mode in self.modes.items()
            if name in wanted or not (wanted or mode.on_demand)
        )

    def parts(self, mode: str, net: str, budget: str) -> Parts:
        """What a net is trained by; what is said later wins: for all, budget, mode, net, net in the mode."""
        change, within = self.modes[mode], self.budget(budget)
        layers = [
            self.common,
            within.common,
            change.common,
            self.nets.get(net, {}),
            change.nets.get(net, {}),
        ]
        return merge_parts([*layers, {"train": within.train}])

    def with_model(self, spec: str) -> Experiment:
        """A copy of the experiment with another model, by its spec, for nets that do not name one of their own."""
        budgets = {}
        for name, each in self.budgets.items():
            budgets[name] = attrs.evolve(
                each, common={k: v for k, v in each.common.items() if k != "model"}
            )
        return attrs.evolve(self, common=self.common | {"model": spec}, budgets=budgets)


def merge_parts(layers: list[Parts]) -> Parts:
    """Later parts over earlier ones; the tables ``train`` key by key."""
    whole: Parts = {}
    for layer in layers:
        whole |= layer | {"train": whole.get("train", {}) | layer.get("train", {})}
    return whole


def _tables_in(tables: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    part = tables.get(name, {})
    if isinstance(part, dict):
        return list(part.items())
    return []


def _build(cls: type, given: Any, where: str) -> Any:
    """An attrs class from a table, whose lists become tuples."""
    if not isinstance(given, dict):
        raise UsageError(f"{where} must be a table, not {given!r}")
    _check_keys(cls, given, where)
    return cls(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in given.items()
        }
    )


def _check_keys(cls: type, given: Mapping[str, Any], where: str) -> None:
    fields = {field.name: field for field in attrs.fields(cls)}
    for key in given:
        if key not in fields:
            raise UsageError(
                f"{where} has an unknown key {key!r}; {suggest(key, fields)}"
            )
    missing = [
        name
        for name, field in fields.items()
        if field.default is attrs.NOTHING and name not in given
    ]
    if missing:
        raise UsageError(f"{where} lacks {' and '.join(missing)}")
