"""Call handling: grpclib's handler interface over our transport."""

from optimizer.grpc_api.calls.dispatch import Dispatcher as Dispatcher
from optimizer.grpc_api.calls.failures import Failure as Failure
from optimizer.grpc_api.calls.framing import Frame as Frame
from optimizer.grpc_api.calls.framing import encode_frame as encode_frame
from optimizer.grpc_api.calls.routes import Handle as Handle
from optimizer.grpc_api.calls.routes import Interceptor as Interceptor
from optimizer.grpc_api.calls.routes import Route as Route
from optimizer.grpc_api.calls.routes import Servable as Servable
from optimizer.grpc_api.calls.routes import list_routes as list_routes
from optimizer.grpc_api.calls.stream import Cause as Cause
from optimizer.grpc_api.calls.stream import Stream as Stream
