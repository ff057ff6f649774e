"""The fold over the log and what it feeds: policies, reports, decisions."""

from optimizer.processor.decider import Decider as Decider
from optimizer.processor.decider import Decision as Decision
from optimizer.processor.registry import Registry as Registry
from optimizer.processor.service import Processor as Processor
from optimizer.processor.service import run as run
