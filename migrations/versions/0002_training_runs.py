"""Make the tables of the trainers: runs, their metrics, their pictures."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Spelled out, not imported: what a migration did must not change when the program does.
STATES = (
    "'queued', 'running', 'succeeded', 'rejected', 'failed', 'cancelled', 'quarantined', 'purged'"
)
KINDS = "'forger', 'generate', 'classifier', 'segmenter', 'loop'"


def moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    """Make a column of a moment in UTC."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "training_runs",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("overrides", sa.JSON(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        moment("created_at"),
        moment("updated_at"),
        moment("finished_at", nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        moment("run_after"),
        moment("last_published_at", nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(128), nullable=True),
        moment("lease_expires_at", nullable=True),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("losses", sa.JSON(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("checkpoints", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_training_runs"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_training_runs_state")),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_training_runs_kind")),
    )
    op.create_index("ix_training_runs_queue", "training_runs", ["state", "created_at", "id"])
    op.create_index("ix_training_runs_tenant_id", "training_runs", ["tenant", "id"])

    op.create_table(
        "training_metrics",
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("series", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "series", "step", name="pk_training_metrics"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["training_runs.id"], name="fk_training_metrics_run_id_training_runs"
        ),
    )

    op.create_table(
        "training_pictures",
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("series", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        moment("stored_at"),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "series", "step", name="pk_training_pictures"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["training_runs.id"], name="fk_training_pictures_run_id_training_runs"
        ),
    )


def downgrade() -> None:
    """Go back; what was trained stays in its folders, and nobody knows of it."""
    for table in ("training_pictures", "training_metrics", "training_runs"):
        op.drop_table(table)
