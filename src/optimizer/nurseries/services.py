"""The service table: the six services of the contract, what each needs, how it restarts, how much it matters."""

from collections.abc import Sequence

import trio

from optimizer.nurseries.policy import Criticality, Restart, Run, ServiceSpec, Stage
from optimizer.root import Parts
from optimizer.root.parts import backoff_of, intensity_of


def declare_services(parts: Parts) -> Sequence[ServiceSpec]:
    """The real services of this process, in their declared order."""
    supervision = parts.settings.get().supervision

    def spec(
        name: str,
        run: Run,
        *needs: str,
        stage: Stage = Stage.WORKER,
        criticality: Criticality = Criticality.DEGRADE,
        leave: trio.Event | None = None,
    ) -> ServiceSpec:
        return ServiceSpec(
            name=name,
            run=run,
            needs=needs,
            stage=stage,
            restart=Restart.TRANSIENT,
            criticality=criticality,
            backoff=backoff_of(supervision),
            intensity=intensity_of(supervision),
            leave=leave,
        )

    return [
        spec("storage", idle(parts, "storage"), stage=Stage.STORE, criticality=Criticality.FALL),
        spec("collector", idle(parts, "collector")),
        spec("integrations", idle(parts, "integrations")),
        spec("processor", idle(parts, "processor"), "collector", "storage"),
        spec("rest_api", idle(parts, "rest_api"), "processor", "storage", stage=Stage.EDGE),
        spec("grpc_api", idle(parts, "grpc_api"), "processor", "storage", stage=Stage.EDGE),
    ]


def idle(parts: Parts, name: str) -> Run:
    """A service that has nothing to do in this version, and says so in health."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        parts.board.say(name, message="this version has nothing to do here yet")
        await trio.sleep_forever()

    return run
