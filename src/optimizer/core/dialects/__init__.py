"""Dialects: what instrumentations call things, brought to our names, with one meaning for token counts."""

from optimizer.core.dialects.aliases import Aliases as Aliases
from optimizer.core.dialects.aliases import load_aliases as load_aliases
from optimizer.core.dialects.calls import read_call as read_call
from optimizer.core.dialects.scores import EVALUATION as EVALUATION
from optimizer.core.dialects.scores import Judgements as Judgements
from optimizer.core.dialects.scores import Range as Range
from optimizer.core.dialects.scores import read_evaluation as read_evaluation
from optimizer.core.dialects.scores import read_scores as read_scores
from optimizer.core.dialects.spans import Bounds as Bounds
from optimizer.core.dialects.spans import Span as Span
from optimizer.core.dialects.spans import SpanEvent as SpanEvent
from optimizer.core.dialects.spans import span_key as span_key
from optimizer.core.dialects.usage import Usage as Usage
from optimizer.core.dialects.usage import read_usage as read_usage
