"""The fold over the log: services, cells, policies in force; its snapshots and its reports."""

from optimizer.core.fold.calls import Call as Call
from optimizer.core.fold.calls import Orphans as Orphans
from optimizer.core.fold.calls import names_of as names_of
from optimizer.core.fold.cell import Cell as Cell
from optimizer.core.fold.report import probabilities as probabilities
from optimizer.core.fold.report import report as report
from optimizer.core.fold.service import ServiceState as ServiceState
from optimizer.core.fold.state import Changes as Changes
from optimizer.core.fold.state import State as State
