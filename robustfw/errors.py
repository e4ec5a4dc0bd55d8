"""The errors that robustfw raises. Each message is one sentence that says what to do."""

from __future__ import annotations


class RobustfwError(Exception):
    """An error that a user can mend; the command line prints it without a traceback."""

    exit_status = 1
    """The status with which the command line ends."""


class UsageError(RobustfwError):
    """A name, key or value that does not exist or does not fit."""

    exit_status = 2


class DataError(RobustfwError):
    """Data that is missing, in the wrong form, or outside its declared range."""


class RunError(RobustfwError):
    """A run directory or checkpoint that cannot be read, written or resumed."""


class TrainingError(RobustfwError):
    """Training that cannot go on: a loss that is not finite, or an overfitted inner maximum."""


class PluginError(RobustfwError):
    """A plugin that failed, or that broke the contract of its interface."""


class RobustfwWarning(UserWarning):
    """A number or a setting that deserves a second look."""
