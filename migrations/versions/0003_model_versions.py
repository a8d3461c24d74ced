"""Make the tables of promoted networks and of reruns; let a policy's name hold a network's."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

POLICY_CHARS = 32
WITH_A_NETWORK_CHARS = 128


def moment(name: str) -> sa.Column[object]:
    """Make a column of a moment in UTC."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def verdicts(policy_chars: int) -> sa.Table:
    """Spell out the table of verdicts: SQLite changes a column by making its table anew."""
    return sa.Table(
        "verdicts",
        sa.MetaData(),
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("label", sa.String(32), nullable=False),
        sa.Column("fake_probability", sa.Double(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("caveat", sa.String(), nullable=False),
        sa.Column("policy", sa.String(policy_chars), nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("job_id", name="pk_verdicts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_verdicts_job_id_jobs"),
        sa.CheckConstraint(
            "label IN ('manipulated', 'no_manipulation_found', 'inconclusive')",
            name=op.f("ck_verdicts_label"),
        ),
        sa.Index("ix_verdicts_label", "label"),
    )


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "model_versions",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("name", "version", name="pk_model_versions"),
    )
    op.create_table(
        "model_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=True),
        sa.Column("before", sa.BigInteger(), nullable=True),
        moment("at"),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("note", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_changes"),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["model_versions.name", "model_versions.version"],
            name="fk_model_changes_name_model_versions",
        ),
    )
    op.create_index("ix_model_changes_name", "model_changes", ["name"])
    op.create_table(
        "reruns",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        moment("created_at"),
        sa.Column("unavailable", sa.JSON(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reruns"),
    )
    op.add_column("jobs", sa.Column("rerun_id", sa.String(26), nullable=True))
    op.add_column("jobs", sa.Column("rerun_of", sa.String(26), nullable=True))
    op.create_index("ix_jobs_rerun_id", "jobs", ["rerun_id"])
    op.create_index("ix_jobs_blob_key", "jobs", ["blob_key"])
    with op.batch_alter_table("verdicts", copy_from=verdicts(POLICY_CHARS)) as table:
        table.alter_column(
            "policy",
            existing_type=sa.String(POLICY_CHARS),
            existing_nullable=False,
            type_=sa.String(WITH_A_NETWORK_CHARS),
        )


def downgrade() -> None:
    """Go back; longer names of policies are cut, and which jobs were reruns is forgotten."""
    with op.batch_alter_table("verdicts", copy_from=verdicts(WITH_A_NETWORK_CHARS)) as table:
        table.alter_column(
            "policy",
            existing_type=sa.String(WITH_A_NETWORK_CHARS),
            existing_nullable=False,
            type_=sa.String(POLICY_CHARS),
            postgresql_using=f"left(policy, {POLICY_CHARS})",
        )
    op.drop_index("ix_jobs_blob_key", "jobs")
    op.drop_index("ix_jobs_rerun_id", "jobs")
    op.drop_column("jobs", "rerun_of")
    op.drop_column("jobs", "rerun_id")
    for table_name in ("reruns", "model_changes", "model_versions"):
        op.drop_table(table_name)
