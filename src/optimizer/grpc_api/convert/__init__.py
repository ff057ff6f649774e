"""Between protobuf messages and the values of the domain."""

from optimizer.grpc_api.convert.plain import from_struct as from_struct
from optimizer.grpc_api.convert.plain import to_struct as to_struct
from optimizer.grpc_api.convert.replies import partial as partial
from optimizer.grpc_api.convert.replies import success as success
from optimizer.grpc_api.convert.replies import to_page as to_page
from optimizer.grpc_api.convert.times import from_time as from_time
from optimizer.grpc_api.convert.times import from_time_range as from_time_range
from optimizer.grpc_api.convert.times import to_time as to_time
