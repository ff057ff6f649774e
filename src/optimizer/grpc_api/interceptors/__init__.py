"""What every call goes through, outermost first: containment, log, metrics, limits, identity, rights, deadline."""

from optimizer.grpc_api.interceptors.containment import Containment as Containment
