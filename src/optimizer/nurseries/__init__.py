"""The process as a tree of nurseries: restart policy, supervisor, layers, stop, health, tree."""

from optimizer.nurseries.health import HealthBoard as HealthBoard
from optimizer.nurseries.health import State as State
from optimizer.nurseries.layers import House as House
from optimizer.nurseries.layers import StartFailed as StartFailed
from optimizer.nurseries.layers import StopRequested as StopRequested
from optimizer.nurseries.layers import UnstoppedReport as UnstoppedReport
from optimizer.nurseries.layers import open_layer as open_layer
from optimizer.nurseries.layers import open_layers as open_layers
from optimizer.nurseries.policy import Backoff as Backoff
from optimizer.nurseries.policy import Criticality as Criticality
from optimizer.nurseries.policy import Grace as Grace
from optimizer.nurseries.policy import Intensity as Intensity
from optimizer.nurseries.policy import Probe as Probe
from optimizer.nurseries.policy import Restart as Restart
from optimizer.nurseries.policy import ServiceSpec as ServiceSpec
from optimizer.nurseries.policy import Stage as Stage
from optimizer.nurseries.policy import Verdict as Verdict
from optimizer.nurseries.stop import Stop as Stop
from optimizer.nurseries.supervisor import Happening as Happening
from optimizer.nurseries.supervisor import RestartLimitExceeded as RestartLimitExceeded
from optimizer.nurseries.supervisor import ServiceEvent as ServiceEvent
from optimizer.nurseries.supervisor import Supervisor as Supervisor
from optimizer.nurseries.watchdog import Watchdog as Watchdog
