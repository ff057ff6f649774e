"""What every call goes through, outermost first: containment, log, metrics, limits, identity, rights."""

from optimizer.grpc_api.interceptors.accounting import Logging as Logging
from optimizer.grpc_api.interceptors.accounting import Metering as Metering
from optimizer.grpc_api.interceptors.admission import Limiter as Limiter
from optimizer.grpc_api.interceptors.admission import LoadLimits as LoadLimits
from optimizer.grpc_api.interceptors.admission import Shedding as Shedding
from optimizer.grpc_api.interceptors.containment import Containment as Containment
from optimizer.grpc_api.interceptors.identity import PUBLIC as PUBLIC
from optimizer.grpc_api.interceptors.identity import Authenticate as Authenticate
from optimizer.grpc_api.interceptors.identity import Authentication as Authentication
from optimizer.grpc_api.interceptors.identity import Authorization as Authorization
from optimizer.grpc_api.interceptors.identity import Rules as Rules
