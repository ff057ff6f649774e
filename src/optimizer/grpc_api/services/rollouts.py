"""RolloutService: staged rollouts are not part of this version, and it says so."""

from optimizer.grpc_api.handling import coming
from optimizer.grpc_api.pb.rollouts_grpc import RolloutServiceBase

REASON = "staged rollouts are not part of this version yet; no traffic was moved"


class RolloutService(RolloutServiceBase):
    """Every method answers UNIMPLEMENTED."""

    StartRollout = coming(REASON)
    GetRollout = coming(REASON)
    ListRollouts = coming(REASON)
    PauseRollout = coming(REASON)
    ResumeRollout = coming(REASON)
    CancelRollout = coming(REASON)
    ApproveRollout = coming(REASON)
    RollbackRollout = coming(REASON)
    GetVerdicts = coming(REASON)
    WatchRollouts = coming(REASON)
