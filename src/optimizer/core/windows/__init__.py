"""Stream processing in event time: windows, watermarks, lateness, mergeable aggregates."""

from optimizer.core.windows.aggregate import Aggregate as Aggregate
from optimizer.core.windows.aggregate import Summary as Summary
from optimizer.core.windows.aggregate import Tally as Tally
from optimizer.core.windows.sessions import SessionsState as SessionsState
from optimizer.core.windows.sessions import SessionWindows as SessionWindows
from optimizer.core.windows.sliced import SlicedState as SlicedState
from optimizer.core.windows.sliced import SlicedWindows as SlicedWindows
from optimizer.core.windows.values import Fired as Fired
from optimizer.core.windows.values import LateEvent as LateEvent
from optimizer.core.windows.values import Lateness as Lateness
from optimizer.core.windows.values import Sessions as Sessions
from optimizer.core.windows.values import Sliding as Sliding
from optimizer.core.windows.values import WindowResult as WindowResult
from optimizer.core.windows.values import tumbling as tumbling
from optimizer.core.windows.watermark import Watermarks as Watermarks
