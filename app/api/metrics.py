"""What does Prometheus see? The queue as the database has it, and this process's uploads."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app import log
from app.db.session import Database
from app.domain.job import JobState, Priority
from app.domain.verdict import Label
from app.errors import DatabaseUnavailable
from app.services import jobs

_log = log.get(__name__)


class Meters:
    """What this process counts itself. No label ever names a tenant or a job."""

    def __init__(self, db: Database) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(QueueCollector(db))
        self._accepted = Counter(
            "deepverdict_uploads_accepted",
            "Videos that were answered with 202.",
            registry=self._registry,
        )
        self._bytes = Counter(
            "deepverdict_upload_bytes",
            "Bytes of the videos that were answered with 202.",
            registry=self._registry,
        )
        self._rejected = Counter(
            "deepverdict_upload_rejected",
            "Uploads that were refused, by problem type.",
            ["problem"],
            registry=self._registry,
        )

    def count_accepted(self, *, size_bytes: int) -> None:
        """Count a video that is durable and queued."""
        self._accepted.inc()
        self._bytes.inc(size_bytes)

    def count_rejected(self, *, problem: str) -> None:
        """Count an upload that ended in a problem."""
        self._rejected.labels(problem=problem).inc()

    def exposition(self) -> bytes:
        """Write everything in the text format of Prometheus; reads the database."""
        return generate_latest(self._registry)


class QueueCollector(Collector):
    """
    Reads the queue at each scrape; the broker's length would say nothing.

    A database that does not answer leaves the figures out, and `deepverdict_database_up` at 0.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, so that registering needs no database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield the figures of this moment."""
        try:
            figures = jobs.figures(self._db)
        except DatabaseUnavailable:
            _log.warning("metrics.database_unavailable", exc_info=True)
            yield _gauge("deepverdict_database_up", "Whether the database answered.", 0)
            return
        yield _gauge("deepverdict_database_up", "Whether the database answered.", 1)
        yield _family(
            "deepverdict_jobs",
            "Jobs by state.",
            "state",
            {s.value: figures.jobs_by_state.get(s, 0) for s in JobState},
        )
        yield _family(
            "deepverdict_job_oldest_queued_age_seconds",
            "How long the oldest queued job has waited; the one figure to alert on.",
            "priority",
            {p.value: figures.oldest_queued_age_s.get(p, 0) for p in Priority},
        )
        yield _family(
            "deepverdict_verdicts",
            "Verdicts that are stored, by label.",
            "label",
            {v.value: figures.verdicts_by_label.get(v, 0) for v in Label},
        )
        yield _gauge(
            "deepverdict_job_leases_expired",
            "Running jobs whose worker was not heard of in time, not yet given to another.",
            figures.expired_leases,
        )
        yield _gauge(
            "deepverdict_workers_seen", "Workers heard of within a minute.", figures.workers_seen
        )


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _family(name: str, words: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
