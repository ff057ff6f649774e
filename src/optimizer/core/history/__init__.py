"""What was called and recorded, by time: the answers to every question with a time range. A pure fold over the log."""

from optimizer.core.history.answers import Point as Point
from optimizer.core.history.answers import evaluate as evaluate
from optimizer.core.history.answers import total as total
from optimizer.core.history.calls import CallHistory as CallHistory
from optimizer.core.history.calls import Kind as Kind
from optimizer.core.history.history import History as History
from optimizer.core.history.history import restore_history as restore_history
from optimizer.core.history.periods import Period as Period
from optimizer.core.history.query import Query as Query
from optimizer.core.history.query import parse_query as parse_query
from optimizer.core.history.query import parse_step as parse_step
from optimizer.core.history.series import Series as Series
from optimizer.core.history.tally import Tally as Tally
from optimizer.core.history.trends import Trend as Trend
from optimizer.core.history.trends import trend as trend
