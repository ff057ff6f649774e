"""What the process uses of the machine, sampled into the metrics."""

from dataclasses import dataclass

import psutil
import trio

from optimizer.observability.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """One sample. `cpu_percent` is since the sample before; 100 is one core."""

    memory_bytes: int
    cpu_percent: float
    descriptors: int
    threads: int


class ResourceMeter:
    """Reads /proc of this process; a sample takes well under a millisecond."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)  # the first reading is always 0: it starts the interval

    def sample(self) -> Resources:
        """The use now."""
        with self._process.oneshot():
            return Resources(
                memory_bytes=self._process.memory_info().rss,
                cpu_percent=self._process.cpu_percent(None),
                descriptors=self._process.num_fds(),
                threads=self._process.num_threads(),
            )


async def sample_resources(
    metrics: Metrics, *, interval_s: float = 10.0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Put a sample into the metrics every `interval_s` seconds. Runs until cancelled."""
    meter = ResourceMeter()
    task_status.started()
    while True:
        now = meter.sample()
        metrics.memory_usage_bytes.set(now.memory_bytes)
        metrics.cpu_usage_percent.set(now.cpu_percent)
        metrics.open_descriptors.set(now.descriptors)
        metrics.threads.set(now.threads)
        await trio.sleep(interval_s)
