"""The tangent space of the data as an uncertainty set and as a penalty, with four ways to find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_manifold.bases import Cae, Decoder, KnnPca, Transform
from robustfw_manifold.basis import Basis

if TYPE_CHECKING:
    import click

    from robustfw.hookspecs import Add

__all__ = ["Basis"]


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the set, the penalty and the bases."""
    add("tangent", "robustfw_manifold.tangent:Tangent", kind="uncertainty")
    add("tangent-prop", "robustfw_manifold.objective:TangentProp", kind="objective")
    add("transform", Transform)
    add("knn-pca", KnnPca)
    add("cae", Cae)
    add("decoder", Decoder)


@hookimpl
def robustfw_commands(cli: click.Group) -> None:
    """Add the command `robustfw tangents`."""
    from robustfw_manifold.command import tangents

    cli.add_command(tangents)
