"""The staged rollout of a candidate: a pure machine over outcomes, time and commands."""

from optimizer.core.rollout.effect import measured_impact as measured_impact
from optimizer.core.rollout.explain import describe as describe
from optimizer.core.rollout.explain import explain as explain
from optimizer.core.rollout.explain import waiting_for as waiting_for
from optimizer.core.rollout.machine import advance as advance
from optimizer.core.rollout.machine import apply as apply
from optimizer.core.rollout.machine import apply_all as apply_all
from optimizer.core.rollout.machine import waits_for_time as waits_for_time
from optimizer.core.rollout.plan import RolloutSpec as RolloutSpec
from optimizer.core.rollout.plan import admit as admit
from optimizer.core.rollout.plan import canary_stages as canary_stages
from optimizer.core.rollout.plan import check_spec as check_spec
from optimizer.core.rollout.plan import place_of as place_of
from optimizer.core.rollout.plan import sees_candidate as sees_candidate
from optimizer.core.rollout.state import Command as Command
from optimizer.core.rollout.state import Effect as Effect
from optimizer.core.rollout.state import Input as Input
from optimizer.core.rollout.state import Notify as Notify
from optimizer.core.rollout.state import Observed as Observed
from optimizer.core.rollout.state import Rollout as Rollout
from optimizer.core.rollout.state import Route as Route
from optimizer.core.rollout.state import Tick as Tick
from optimizer.core.rollout.state import Transition as Transition
from optimizer.core.rollout.state import route_of as route_of
from optimizer.core.rollout.state import start as start
