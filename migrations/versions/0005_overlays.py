"""Make the table of overlays, videos with boxes and marks that are made on demand."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "overlays",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("job_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("run_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(128), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("blob_key", sa.String(128), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_overlays"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'rejected', 'failed', 'cancelled', "
            "'quarantined', 'purged')",
            name=op.f("ck_overlays_state"),
        ),
    )
    op.create_index("ix_overlays_queue", "overlays", ["state", "created_at", "id"])


def downgrade() -> None:
    """Go back; the overlays' files stay behind, and can be made anew."""
    op.drop_index("ix_overlays_queue", "overlays")
    op.drop_table("overlays")
