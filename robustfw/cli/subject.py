"""What the measuring commands have in common: a trained net, examples to measure it on, and a record of the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from robustfw.cli._choices import Choices
from robustfw.cli._examples import check_data, first_examples
from robustfw.cli._foreign import read_normalization
from robustfw.cli._records import (
    attack_facts,
    command_line,
    keep_worst_cases,
    task_facts,
)
from robustfw.cli._stdout import alone_on_stdout, print_json
from robustfw.dataset import data_root
from robustfw.errors import DataError, UsageError
from robustfw.plugin import registry

if TYPE_CHECKING:
    from torch import nn

    from robustfw.attack import Attack
    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split, Splits
    from robustfw.evaluation import Verdicts
    from robustfw.evaluation._gallery import Gallery
    from robustfw.inner.threat import Threat
    from robustfw.loss import Loss
    from robustfw.task import Task

__all__ = [
    "ATTACK",
    "JUDGE",
    "Choices",
    "Subject",
    "alone_on_stdout",
    "command_line",
    "print_json",
]

ATTACK = "pgd:steps=40"
"""The attack that an audit questions, where no other is asked for."""
JUDGE = "restarts:n=5,attack=(pgd:steps=40)"
"""The attack that accuracy is measured by: a single random start leaves several per cent that others fool."""


@attrs.frozen(eq=False)
class Subject:
    """A net with data and circumstances, ready to be measured: all that the measuring commands know.

    It is a run that robustfw trained, or one of a net that was trained elsewhere (`open`).
    """

    known: registry.Registry
    """The installed plugins."""
    name: str
    """What results call the subject: the run's path, as it was typed."""
    home: Path
    """The run directory, beside which results are kept."""
    model: nn.Module
    """The net, on its device."""
    splits: Splits
    """All data of the net."""
    split: Split
    """The examples that are measured."""
    recipe: Mapping[str, Any]
    """What is recorded of model, dataset and the rest of the training."""
    data_hash: str
    """The hash of the data that the net was trained on."""
    choices: Choices
    """What the flags of the command say."""
    normalization: str | None
    """The normalisation of a net that was trained elsewhere, in words; None for one that was trained here."""

    @classmethod
    def open(
        cls, path: Path | None, choices: Choices, beside: Subject | None = None
    ) -> Subject:
        """The net of a run directory with the data that it was trained on, or a net that is none's.

        Args:
            path: the run directory; None: the net that ``choices.model`` names, which becomes a run.
            choices: which examples of which split, by which weights, on which device.
            beside: another subject, whose data is used again; the run's must be the same.

        Raises:
            RunError: there is no run.
            UsageError: both a run and a net are named, or none.
            DataError: the data is not what the net was trained on, or there is no example.
        """
        from robustfw.storage.runs import Run
        from robustfw.training import _reopen, hardware, parallel

        # 1. what the run says of itself
        known = registry.installed()
        if path is None:
            path = choices.named_net.adopt()
            choices = choices.adopted()
        choices = choices.of_run()
        run = Run.open(path)
        manifest = run.manifest()
        recipe = _reopen.read_recipe(run, "dataset", "model")
        data_hash = str(manifest["data"]["hash"])

        # 2. where the measurement runs
        device = parallel.usable_device(choices.device)
        hardware.use_threads(choices.threads)
        hardware.keep_freed_memory()

        # 3. the data, and the net
        if beside is None:
            dataset = known.make("dataset", recipe["dataset"])
            splits = dataset.load(data_root(choices.data_dir, manifest))
            check_data(splits, data_hash, path)
            split = first_examples(splits, choices.split, choices.examples)
        else:
            splits = beside.splits
            split = beside.split
            if data_hash != beside.data_hash:
                raise DataError(
                    f"{beside.name} and {path} were trained on different data: they have no examples in common"
                )
        model = _reopen.rebuild(run, known, weights=choices.weights).to(device)
        return cls(
            known=known,
            name=str(path),
            home=path,
            model=model,
            splits=splits,
            split=split,
            recipe=recipe,
            data_hash=data_hash,
            choices=choices,
            normalization=read_normalization(manifest),
        )

    @property
    def spec(self) -> DataSpec:
        """Shape, range, classes and task of the data."""
        return self.splits.spec

    @property
    def task(self) -> Task:
        """What the net's outputs are for."""
        return self.splits.spec.task

    def verdicts(
        self, threat: Threat, attacks: list[Attack], loss: Loss, **options: Any
    ) -> Iterator[Verdicts]:
        """What becomes of each example under attack, batch by batch, as the flags say.

        Args:
            threat: the set and the data range.
            attacks: what is tried, one after the other.
            loss: what the attacks raise.
            options: others of `robustfw.evaluation.verdicts`, such as ``after``.
        """
        from robustfw.evaluation import verdicts

        return verdicts(
            self.model,
            self.split,
            threat=threat,
            attacks=attacks,
            classes=self.spec.classes,
            task=self.task,
            loss=loss,
            batch_size=self.choices.batch_size,
            seed=self.choices.seed,
            **options,
        )

    def threat(self, spec: str | None) -> Threat:
        """The set of a spec, or that of the training where there is none, in the range of the data.

        What the set learns from data, it learns from training examples only.
        """
        from robustfw.inner.threat import Threat
        from robustfw.training import _reopen

        if not spec and "uncertainty" not in self.recipe:
            raise UsageError(
                f"the net in {self.name} was adopted, and no training says against which set it is to be measured: "
                "name one by --uncertainty, such as linf:radius=8/255"
            )
        if not spec:
            spec = _reopen.read_part(self.recipe, "uncertainty", self.name)
        uncertainty = self.known.make("uncertainty", spec)
        threat = Threat.on(uncertainty, self.spec).fit(self.splits.learning_split())
        x, _ = next(self.split.first(8).iterate(8))
        threat.warn_of_unit(x)
        return threat

    def attack(self, spec: str) -> Attack:
        """An attack by its spec."""
        return self.known.make("attack", spec)

    def loss(self, spec: str | None) -> Loss:
        """The loss that attacks raise, by its spec; the task's by default."""
        if spec is None:
            return self.task.loss
        return self.known.make("loss", spec)

    def measurement_facts(
        self, threat: Threat, attacks: list[Attack], loss: Loss
    ) -> dict[str, Any]:
        """The set, the attacks and the loss in full, as results record them.

        Args:
            threat: the set within the data range.
            attacks: what is tried.
            loss: what attacks raise.
        """
        tried = attack_facts(self.known, threat.uncertainty, attacks)
        return tried | self.loss_facts(loss)

    def loss_facts(self, loss: Loss) -> dict[str, Any]:
        """The loss and the task, as results record them."""
        return {"loss": self.known.spell(loss, brief=True)} | task_facts(
            self.known, self.task
        )

    def circumstances(self, **more: Any) -> dict[str, Any]:
        """What was measured, and on what, as results record it; ``more`` is added."""
        if self.normalization is not None:
            more |= {"normalization": self.normalization}
        return {
            "run": self.name,
            "split": self.choices.split,
            "examples": len(self.split),
            "weights": self.choices.weights,
            "seed": self.choices.seed,
            "bounds": self.splits.spec.bounds,
        } | more

    def keep_worst_cases(self, circumstances: dict[str, Any], gallery: Gallery) -> None:
        """Leave the examples that were fooled beside the run, for the report to draw."""
        keep_worst_cases(
            self.home, circumstances=circumstances, gallery=gallery, spec=self.spec
        )

    def keep(
        self, kind: str, circumstances: dict[str, Any], measured: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a result beside the run.

        Args:
            kind: the name of a registered `robustfw.results.ResultKind`.
            circumstances: what was measured, how, and on what.
            measured: the numbers.

        Returns:
            The result as it was written.
        """
        from robustfw import results

        results.keep(self.home, kind, circumstances, measured, command_line())
        return {"kind": kind} | circumstances | measured

    def show_and_keep(
        self,
        kind: str,
        circumstances: dict[str, Any],
        measured: dict[str, Any],
        brief: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Print a result, unless JSON alone is to be printed, and write it beside the run.

        Args:
            kind: the name of a registered `robustfw.results.ResultKind`.
            circumstances: what was measured, how, and on what.
            measured: the numbers.
            brief: what is printed in the place of longer circumstances.

        Returns:
            The result as it was written.
        """
        from robustfw import console

        if not self.choices.as_json:
            shown = circumstances | measured | dict(brief or {})
            console.show(kind, shown, self.spec.labels, known=self.known)
        return self.keep(kind, circumstances, measured)
