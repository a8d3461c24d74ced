"""By which rules are verdicts made just now?"""

from app.db.session import Database
from app.domain.policy import Policy, policy_for
from app.services import model_versions


def in_force(db: Database) -> Policy:
    """Return the policy that the next job is judged by, whatever networks were promoted."""
    return policy_for(model_versions.current(db))
