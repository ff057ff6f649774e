"""From a policy to one recorded choice: the draw with its probability, and the id that describes and proves it."""

from optimizer.core.assignment.choice import choose as choose
from optimizer.core.assignment.choice import marginal as marginal
from optimizer.core.assignment.choice import served as served
from optimizer.core.assignment.choice import unit_of as unit_of
from optimizer.core.assignment.identity import MAX_ID_LENGTH as MAX_ID_LENGTH
from optimizer.core.assignment.identity import AssignmentRef as AssignmentRef
from optimizer.core.assignment.identity import encode as encode
from optimizer.core.assignment.identity import parse as parse
from optimizer.core.assignment.identity import verify as verify
