"""What a machine does while it trains: MLflow's own monitor of it, on the run of the trial."""

from contextlib import suppress
from typing import TYPE_CHECKING

from nightlab.tracking.connection import import_mlflow

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

SAMPLE_SECONDS = 5.0


class MachineWatch:
    """Samples processors, memory, disk and network, and of GPUs where there is NVIDIA's driver.

    The samples are of the machine and not of the trial alone; no record has them, so what is made
    anew from git is without them.

    Args:
        tracking_uri: MLflow's store.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._run_id: str | None = None
        self._monitor: SystemMetricsMonitor | None = None

    def follow(self, run_id: str) -> None:
        """Put the samples from now on into a run, which is RUNNING; its end ends them."""
        if run_id == self._run_id:
            return
        self.end()
        import_mlflow()
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._run_id = run_id
        with suppress(OSError, AttributeError):  # a machine without a disk or network of its own
            self._monitor = SystemMetricsMonitor(
                run_id, SAMPLE_SECONDS, resume_logging=True, tracking_uri=self._uri
            )
            self._monitor.start()

    def end(self) -> None:
        """Sample no more; what was sampled is sent."""
        if self._monitor is not None:
            self._monitor.finish()
        self._monitor = self._run_id = None
