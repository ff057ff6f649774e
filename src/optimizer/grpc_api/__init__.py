"""The gRPC front door: HTTP/2 on Trio, call handling, one module per service."""

from optimizer.grpc_api.assembly import make_services as make_services
from optimizer.grpc_api.interceptors import LoadLimits as LoadLimits
from optimizer.grpc_api.rooms import Rooms as Rooms
from optimizer.grpc_api.rules import RULES as RULES
from optimizer.grpc_api.service import Listen as Listen
from optimizer.grpc_api.service import Policy as Policy
from optimizer.grpc_api.service import Telling as Telling
from optimizer.grpc_api.service import run as run
from optimizer.grpc_api.streams.subscriptions import Subscriptions as Subscriptions
from optimizer.grpc_api.transport import Limits as Limits
from optimizer.grpc_api.transport import open_listeners as open_listeners
