"""HTTP/2 on Trio: connections, their limits, TLS, drain."""

from optimizer.grpc_api.transport.connection import Connection as Connection
from optimizer.grpc_api.transport.connection import Ending as Ending
from optimizer.grpc_api.transport.connection import Peer as Peer
from optimizer.grpc_api.transport.limits import Limits as Limits
from optimizer.grpc_api.transport.listener import Port as Port
from optimizer.grpc_api.transport.listener import Watcher as Watcher
from optimizer.grpc_api.transport.listener import open_listeners as open_listeners
