"""IntegrationService: not part of this version, and it says so."""

from optimizer.grpc_api.handling import coming
from optimizer.grpc_api.pb.integrations_grpc import IntegrationServiceBase
from optimizer.grpc_api.rooms import Rooms

REASON = "integrations are not part of this version yet; nothing was stored or called"


class IntegrationService(IntegrationServiceBase):
    """Every method answers UNIMPLEMENTED."""

    def __init__(self, rooms: Rooms) -> None:
        """Nothing of the rooms is used yet."""

    CreateIntegration = coming(REASON)
    GetIntegration = coming(REASON)
    ListIntegrations = coming(REASON)
    UpdateIntegration = coming(REASON)
    DeleteIntegration = coming(REASON)
    TestIntegration = coming(REASON)
    EnableIntegration = coming(REASON)
    DisableIntegration = coming(REASON)
    HealthCheck = coming(REASON)
    GetIntegrationMetrics = coming(REASON)
    SyncData = coming(REASON)
    SubscribeIntegrationEvents = coming(REASON)
