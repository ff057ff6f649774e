"""The contract's strategies: from what is known about a service to proposed changes of it."""

from optimizer.core.strategies.hybrid import Situation as Situation
from optimizer.core.strategies.hybrid import propose as propose
from optimizer.core.strategies.values import CAUTION as CAUTION
from optimizer.core.strategies.values import WEIGHTS as WEIGHTS
from optimizer.core.strategies.values import Allocation as Allocation
from optimizer.core.strategies.values import Idea as Idea
from optimizer.core.strategies.values import Preset as Preset
from optimizer.core.strategies.values import Profile as Profile
from optimizer.core.strategies.values import StrategySettings as StrategySettings
from optimizer.core.strategies.values import Thresholds as Thresholds
