"""Make every table of the first release."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Spelled out, not imported: what a migration did must not change when the program does.
STATES = (
    "'queued', 'running', 'succeeded', 'rejected', 'failed', 'cancelled', 'quarantined', 'purged'"
)
PRIORITIES = "'live', 'batch'"
STAGES = "'queued', 'starting', 'following_faces', 'examining', 'concluding', 'done'"
LABELS = "'manipulated', 'no_manipulation_found', 'inconclusive'"


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    """Make a column of a moment in UTC."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        moment("created_at"),
        moment("expires_at", nullable=True),
        moment("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("ref_id", sa.String(255), nullable=True),
        sa.Column("file_name", sa.String(255), nullable=True),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("priority_rank", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("fraction", sa.Double(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        moment("created_at"),
        moment("updated_at"),
        moment("finished_at", nullable=True),
        sa.Column("blob_key", sa.String(128), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        moment("run_after"),
        moment("last_published_at", nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(128), nullable=True),
        moment("lease_expires_at", nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("video", sa.JSON(), nullable=True),
        sa.Column("provenance", sa.JSON(), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=True),
        sa.Column("abstentions", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_jobs_state")),
        sa.CheckConstraint(f"priority IN ({PRIORITIES})", name=op.f("ck_jobs_priority")),
        sa.CheckConstraint(f"stage IN ({STAGES})", name=op.f("ck_jobs_stage")),
    )
    op.create_index("ix_jobs_queue", "jobs", ["state", "priority_rank", "created_at", "id"])
    op.create_index("ix_jobs_tenant_id", "jobs", ["tenant", "id"])

    op.create_table(
        "job_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(26), nullable=False),
        moment("at"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("note", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_job_events_state")),
    )
    op.create_index("ix_job_events_job_id", "job_events", ["job_id"])

    op.create_table(
        "verdicts",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("label", sa.String(32), nullable=False),
        sa.Column("fake_probability", sa.Double(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("caveat", sa.String(), nullable=False),
        sa.Column("policy", sa.String(32), nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("job_id", name="pk_verdicts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_verdicts_job_id_jobs"),
        sa.CheckConstraint(f"label IN ({LABELS})", name=op.f("ck_verdicts_label")),
    )
    op.create_index("ix_verdicts_label", "verdicts", ["label"])

    op.create_table(
        "persons",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("first_s", sa.Double(), nullable=False),
        sa.Column("last_s", sa.Double(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("median_face_px", sa.Double(), nullable=False),
        sa.Column("fake_probability", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "id", name="pk_persons"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_persons_job_id_jobs"),
    )

    op.create_table(
        "evidence",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "person_id", "detector", name="pk_evidence"),
        sa.ForeignKeyConstraint(
            ["job_id", "person_id"],
            ["persons.job_id", "persons.id"],
            name="fk_evidence_job_id_persons",
        ),
    )

    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("pts_s", sa.Double(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("box", sa.JSON(), nullable=True),
        sa.Column("area", sa.Double(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_artifacts_job_id_jobs"),
    )

    op.create_table(
        "workers",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        moment("started_at"),
        moment("last_seen_at"),
        sa.Column("is_busy", sa.Boolean(), nullable=False),
        sa.Column("condition", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_last_seen_at", "workers", ["last_seen_at"])


def downgrade() -> None:
    """Go back; everything stored is gone."""
    for table in (
        "workers",
        "artifacts",
        "evidence",
        "persons",
        "verdicts",
        "job_events",
        "jobs",
        "api_keys",
    ):
        op.drop_table(table)
