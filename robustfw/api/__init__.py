"""The functions that a program calls: make plugins, train, find worst cases, evaluate, craft, load a trained net."""

from __future__ import annotations

from robustfw.api._making import make as make
from robustfw.api._measuring import craft as craft
from robustfw.api._measuring import evaluate as evaluate
from robustfw.api._training import load as load
from robustfw.api._training import train as train
from robustfw.api._worst_case import worst_case as worst_case
from robustfw.inner._call import WorstCases as WorstCases
