"""Data sets from elsewhere: array and table files, data sets of the hub or on disk, and whatever a function returns."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    dataset = functools.partial(add, kind="dataset")
    dataset("npz", "robustfw_data.datasets:Npz")
    dataset("csv", "robustfw_data.tables:Csv")
    dataset("parquet", "robustfw_data.tables:Parquet")
    dataset("hf", "robustfw_data.hub:Hub")
    dataset("disk", "robustfw_data.hub:Disk")
    dataset("python", "robustfw_data.datasets:Python")
