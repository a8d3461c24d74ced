"""Give jobs an operating point and what the file says of itself; verdicts an interval and words."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NEW: tuple[tuple[str, tuple[tuple[str, sa.types.TypeEngine[object]], ...]], ...] = (
    ("jobs", (("operating_point", sa.String(16)), ("origin", sa.JSON()))),
    (
        "verdicts",
        (
            ("fake_low", sa.Double()),
            ("fake_high", sa.Double()),
            ("operating_point", sa.String(16)),
            ("said", sa.JSON()),
        ),
    ),
    ("persons", (("fake_low", sa.Double()), ("fake_high", sa.Double()))),
)


def upgrade() -> None:
    """Go forward. Every column may be empty, so no table is made anew and old code goes on."""
    for table, columns in NEW:
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Go back; what was stored in them is lost."""
    for table, columns in reversed(NEW):
        for name, _ in reversed(columns):
            op.drop_column(table, name)
