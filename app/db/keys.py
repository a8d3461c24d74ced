"""Which API keys are there?"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import ApiKeyRow


def find_by_digest(session: Session, secret_sha256: str) -> ApiKeyRow | None:
    """Return the key whose secret has this digest, valid or not."""
    return session.scalar(select(ApiKeyRow).where(ApiKeyRow.secret_sha256 == secret_sha256))


def listed(session: Session, tenant: str | None) -> Sequence[ApiKeyRow]:
    """Return the keys of one tenant, or of all, the oldest first."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.tenant, ApiKeyRow.created_at, ApiKeyRow.id)
    if tenant is not None:
        query = query.where(ApiKeyRow.tenant == tenant)
    return session.scalars(query).all()
