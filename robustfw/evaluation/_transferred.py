"""A line of the masking checklist: examples that were made for another net."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.data.bounds import check_range
from robustfw.errors import DataError
from robustfw.evaluation._checklist import AuditCase, Line, TransferExamples
from robustfw.evaluation._contests import WEAKER
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.adversary import TOLERANCE
from robustfw.inner.freezing import freeze
from robustfw.regions import norms


def transfer(case: AuditCase, many: Verdicts) -> Line:
    """Examples that were made on other nets fool nothing that the attack on this one leaves standing."""
    if not case.transfer:
        return Line.skip(
            "transfer", "no examples that were made on another net were given"
        )
    tried = torch.zeros(len(case), dtype=torch.bool)
    fooled = torch.zeros(len(case), dtype=torch.bool)
    for examples in case.transfer:
        wrong = _find_wrong(case, examples)
        indices = examples.indices.cpu()
        tried[indices] = True
        fooled[indices[wrong]] = True
    alone = int((fooled & many.robust).sum())
    standing = int((tried & many.robust).sum())
    tolerated = case.tolerance(*WEAKER)
    return Line.check(
        "transfer",
        alone <= tolerated,
        f"examples made on {len(case.transfer)} other net(s) fool {alone} of {standing} shown that the attack leaves "
        f"standing (at most {tolerated} tolerated)",
        nets=len(case.transfer),
        shown=int(tried.sum()),
        standing=standing,
        fooled_by_transfer_alone=alone,
        tolerated=tolerated,
    )


def _find_wrong(case: AuditCase, examples: TransferExamples) -> Tensor:
    """Which of the given examples the net gets wrong, (k,); they must lie within the set and the range."""
    indices = examples.indices
    adversarial = examples.adversarial
    are_examples = bool((indices < len(case)).all())
    if len(indices) != len(adversarial) or not are_examples:
        raise DataError(
            f"transferred examples need one index each, below {len(case)}: there are {len(adversarial)} with "
            f"{len(indices)} indices"
        )
    masks = [torch.zeros(0, dtype=torch.bool)]
    originals = case.batches(case.split.subset(indices.cpu()))
    perturbed_batches = adversarial.split(case.batch_size)
    for (x, y), perturbed in zip(originals, perturbed_batches, strict=False):
        perturbed = perturbed.to(x)
        _check_within(case, x, perturbed)
        with freeze(case.model), torch.no_grad():
            outputs = case.task.read(case.model(perturbed), len(perturbed))
            wrong = case.task.wrong(outputs, case.task.targets(y))
        masks.append(wrong.cpu())
    return torch.cat(masks)


def _check_within(case: AuditCase, x: Tensor, perturbed: Tensor) -> None:
    """Raise a `DataError` unless x̃ could come from the set; where δ is not added to x only the range is known."""
    check_range(perturbed, case.threat.bounds)
    region = case.threat.region(x)
    if region.like.shape != x.shape or not region.additive:
        return
    delta = perturbed - x
    outside = region.violation(delta) > TOLERANCE * (1 + norms(delta))
    if bool(outside.any()):
        raise DataError(
            f"{int(outside.sum())} of {len(x)} transferred examples lie outside the set: give examples that were made "
            "within it"
        )
