"""Frozen domain values, identifiers and errors: what every other room talks about."""

from optimizer.model.errors import AlreadyExists as AlreadyExists
from optimizer.model.errors import ConfigurationError as ConfigurationError
from optimizer.model.errors import Conflict as Conflict
from optimizer.model.errors import FailedPrecondition as FailedPrecondition
from optimizer.model.errors import InvalidArgument as InvalidArgument
from optimizer.model.errors import NotFound as NotFound
from optimizer.model.errors import OptimizerError as OptimizerError
from optimizer.model.errors import PermissionDenied as PermissionDenied
from optimizer.model.errors import ResourceExhausted as ResourceExhausted
from optimizer.model.errors import StorageUnavailable as StorageUnavailable
from optimizer.model.errors import StoreCorrupt as StoreCorrupt
from optimizer.model.errors import StoreLocked as StoreLocked
from optimizer.model.errors import Unauthenticated as Unauthenticated
from optimizer.model.errors import Unavailable as Unavailable
from optimizer.model.events import FeedbackEvent as FeedbackEvent
from optimizer.model.events import MetricSample as MetricSample
from optimizer.model.events import Score as Score
from optimizer.model.policies import Assignment as Assignment
from optimizer.model.policies import Policy as Policy
from optimizer.model.policies import Reason as Reason
from optimizer.model.policies import Row as Row
from optimizer.model.services import Constraint as Constraint
from optimizer.model.services import Objective as Objective
from optimizer.model.services import Scalar as Scalar
from optimizer.model.services import Service as Service
from optimizer.model.services import Variant as Variant
