"""The learning policy: evidence in, explicit probabilities per segment out."""

from optimizer.core.learning.belief import Belief as Belief
from optimizer.core.learning.belief import beliefs as beliefs
from optimizer.core.learning.evidence import Evidence as Evidence
from optimizer.core.learning.policy import BoundReport as BoundReport
from optimizer.core.learning.policy import Rows as Rows
from optimizer.core.learning.policy import learn as learn
from optimizer.core.learning.tables import bounds_of as bounds_of
