"""What time is it here? The only reader of the process's clock; leases use the database's."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)
