"""What is stored? Tables only: queries live beside this file, one file a noun."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domain.job import JobState, Priority, Stage
from app.domain.training_run import TrainingKind
from app.domain.verdict import Label

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC on both databases; SQLite itself forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive moments; hand SQLite a naive one in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"want an aware datetime, got {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Make it aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table. JSON columns hold what domain values map to, see `app.db.records`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        float: Double,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


def one_of(
    column: str, values: type[JobState | Priority | Stage | Label | TrainingKind]
) -> CheckConstraint:
    """Allow only the spellings of an enumeration."""
    listed = ", ".join(f"'{v.value}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Leased:
    """
    What a row has that one worker at a time may take; see `app.services.leasing`.

    Each table spells these columns out in a place of its own: where they stand is a matter of its
    migrations.
    """

    if TYPE_CHECKING:
        id: Mapped[str]
        tenant: Mapped[str]
        state: Mapped[str]
        version: Mapped[int]
        created_at: Mapped[datetime]
        updated_at: Mapped[datetime]
        finished_at: Mapped[datetime | None]

        attempt: Mapped[int]
        run_after: Mapped[datetime]
        last_published_at: Mapped[datetime | None]
        lease_token: Mapped[int]
        lease_owner: Mapped[str | None]
        lease_expires_at: Mapped[datetime | None]

        error: Mapped[dict[str, Any] | None]


class ApiKeyRow(Base):
    """A key that speaks for a tenant. The secret itself is never stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(128))
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class JobRow(Leased, Base):
    """The truth about a job; also the queue."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    ref_id: Mapped[str | None] = mapped_column(String(255))
    file_name: Mapped[str | None] = mapped_column(String(255))
    priority: Mapped[str] = mapped_column(String(16))
    priority_rank: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(32))
    fraction: Mapped[float]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    blob_key: Mapped[str] = mapped_column(String(128))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)  # 2 GiB is one more than Integer holds

    attempt: Mapped[int]
    run_after: Mapped[datetime]
    last_published_at: Mapped[datetime | None]
    lease_token: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]

    error: Mapped[dict[str, Any] | None]
    video: Mapped[dict[str, Any] | None]
    provenance: Mapped[dict[str, Any] | None]
    timings: Mapped[dict[str, Any] | None]
    abstentions: Mapped[list[Any] | None]

    # No foreign keys: SQLite could add those only by making the whole table anew.
    rerun_id: Mapped[str | None] = mapped_column(String(26), index=True)
    rerun_of: Mapped[str | None] = mapped_column(String(26))  # the job whose video it shares

    operating_point: Mapped[str | None] = mapped_column(String(16))  # NULL: the policy's own
    origin: Mapped[dict[str, Any] | None]  # see app.domain.media.Origin

    __table_args__ = (
        one_of("state", JobState),
        one_of("priority", Priority),
        one_of("stage", Stage),
        Index("ix_jobs_queue", "state", "priority_rank", "created_at", "id"),
        Index("ix_jobs_tenant_id", "tenant", "id"),
        Index("ix_jobs_blob_key", "blob_key"),
    )


class JobEventRow(Base):
    """One step of a job's history; only ever added to, and gone only with the job's purge."""

    __tablename__ = "job_events"

    # SQLite numbers rows by itself only where the column is spelled INTEGER.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))  # the state entered
    attempt: Mapped[int]
    lease_token: Mapped[int]
    actor: Mapped[str] = mapped_column(String(128))  # a worker, "reconciler", "tenant"
    note: Mapped[str] = mapped_column(String(255))

    __table_args__ = (one_of("state", JobState),)


class VerdictRow(Base):
    """The one verdict of a job: the primary key is the job's."""

    __tablename__ = "verdicts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(32), index=True)
    fake_probability: Mapped[float | None]
    reasons: Mapped[list[Any]]
    statement: Mapped[str]
    caveat: Mapped[str]
    policy: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime]
    fake_low: Mapped[float | None]
    fake_high: Mapped[float | None]
    operating_point: Mapped[str | None] = mapped_column(String(16))
    said: Mapped[list[Any] | None]  # the sentences before they were said in a language

    __table_args__ = (one_of("label", Label),)


class PersonRow(Base):
    """A face that was followed through the video."""

    __tablename__ = "persons"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int]  # as the analysis lists them
    first_s: Mapped[float]
    last_s: Mapped[float]
    frames: Mapped[int]
    median_face_px: Mapped[float]
    fake_probability: Mapped[float | None]
    fake_low: Mapped[float | None]
    fake_high: Mapped[float | None]


class EvidenceRow(Base):
    """What one detector said of one person, whole, so that a verdict can be made anew."""

    __tablename__ = "evidence"

    job_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    person_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    detector: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    body: Mapped[dict[str, Any]]

    __table_args__ = (
        ForeignKeyConstraint(["job_id", "person_id"], ["persons.job_id", "persons.id"]),
    )


class ArtifactRow(Base):
    """A picture: mask or crop, as PNG."""

    __tablename__ = "artifacts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    person_id: Mapped[str] = mapped_column(String(16))
    pts_s: Mapped[float]
    frame_index: Mapped[int]
    width_px: Mapped[int]
    height_px: Mapped[int]
    box: Mapped[dict[str, Any] | None]
    area: Mapped[float]
    sha256: Mapped[str] = mapped_column(String(64))
    png: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class OverlayRow(Leased, Base):
    """An overlay that somebody asked for; its key is the job's."""

    __tablename__ = "overlays"

    # No foreign key: PostgreSQL would lock the job after the overlay where a worker writes twice in
    # one transaction, and whoever removes or wants one locks them the other way round.
    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    job_version: Mapped[int]  # of the job whose verdict it shows
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    attempt: Mapped[int]
    run_after: Mapped[datetime]
    last_published_at: Mapped[datetime | None]
    lease_token: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]

    error: Mapped[dict[str, Any] | None]
    blob_key: Mapped[str | None] = mapped_column(String(128))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        one_of("state", JobState),
        Index("ix_overlays_queue", "state", "created_at", "id"),
    )


class WorkerRow(Base):
    """What a worker last said of itself; the gateway holds no models and asks here."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    code: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    is_busy: Mapped[bool]
    condition: Mapped[dict[str, Any]]  # see app.domain.worker.WorkerCondition


class ModelVersionRow(Base):
    """A network that was promoted. The weights are a file whose name stands in the entry."""

    __tablename__ = "model_versions"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    entry: Mapped[dict[str, Any]]  # see models.manifest.ManifestEntry
    decision: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ModelChangeRow(Base):
    """One step in the history of which version was current; only ever added to."""

    __tablename__ = "model_changes"

    # SQLite numbers rows by itself only where the column is spelled INTEGER.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    name: Mapped[str] = mapped_column(String(64), index=True)
    version: Mapped[str | None] = mapped_column(String(32))  # NULL: as it comes with the program
    before: Mapped[int | None] = mapped_column(BigInteger)  # the step that a rollback goes back to
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    note: Mapped[str] = mapped_column(String(255))

    __table_args__ = (
        ForeignKeyConstraint(
            ["name", "version"], ["model_versions.name", "model_versions.version"]
        ),
    )


class RerunRow(Base):
    """Somebody had stored videos analysed again; the jobs made for it name it."""

    __tablename__ = "reruns"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    unavailable: Mapped[list[Any]]  # ids of jobs that could not be analysed again
    left_out: Mapped[int]


class TrainingRunRow(Leased, Base):
    """The truth about one training; also the trainers' queue."""

    __tablename__ = "training_runs"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str | None] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    recipe: Mapped[str] = mapped_column(String(64))
    overrides: Mapped[dict[str, Any]]
    data: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    attempt: Mapped[int]
    run_after: Mapped[datetime]
    last_published_at: Mapped[datetime | None]
    lease_token: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_expires_at: Mapped[datetime | None]

    stage: Mapped[str] = mapped_column(String(64))  # in the words of the training itself
    step: Mapped[int]
    steps: Mapped[int | None]  # of this stage; not known before it has begun
    losses: Mapped[dict[str, Any] | None]  # the newest metrics
    seconds: Mapped[float]  # spent, over all attempts
    checkpoints: Mapped[list[Any]]
    error: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]

    __table_args__ = (
        one_of("state", JobState),
        one_of("kind", TrainingKind),
        Index("ix_training_runs_queue", "state", "created_at", "id"),
        Index("ix_training_runs_tenant_id", "tenant", "id"),
    )


class TrainingMetricRow(Base):
    """One line of a training's history."""

    __tablename__ = "training_metrics"

    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    series: Mapped[str] = mapped_column(String(64), primary_key=True)  # "" but where there are many
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    metrics: Mapped[dict[str, Any]]


class TrainingPictureRow(Base):
    """What a training looked like after some steps, as PNG."""

    __tablename__ = "training_pictures"

    run_id: Mapped[str] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    series: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stored_at: Mapped[datetime]
    sha256: Mapped[str] = mapped_column(String(64))
    png: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
