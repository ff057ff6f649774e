"""Kafka: feedback from a topic, at least once from the broker and once in the log.

The consumer itself is `service.run`, imported where brokers are configured: its library takes an eighth of a second.
"""

from optimizer.collector.kafka.dead_letters import DeadLetter as DeadLetter
from optimizer.collector.kafka.dead_letters import DeadLetters as DeadLetters
from optimizer.collector.kafka.options import Options as Options
from optimizer.collector.kafka.options import opened_producer as opened_producer
from optimizer.collector.kafka.status import Status as Status
