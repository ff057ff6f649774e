"""Typed topics over memory channels, each subscription with a bound and a named overflow rule."""

from optimizer.bus.cells import Latest as Latest
from optimizer.bus.cells import Slot as Slot
from optimizer.bus.news import News as News
from optimizer.bus.topic import Overflow as Overflow
from optimizer.bus.topic import Subscription as Subscription
from optimizer.bus.topic import Topic as Topic
from optimizer.bus.topic import TopicStatistics as TopicStatistics
