"""By which rules are verdicts made, and how often were those wrong?"""

from fastapi import APIRouter

from app.api import examples
from app.api.deps import PartsOf, Reader
from app.api.documented import problems, shown
from app.api.policy_schemas import PolicyView
from app.services import policies

router = APIRouter(prefix="/v1", tags=["policy"])


@router.get(
    "/policy",
    response_model=PolicyView,
    responses={**shown(200, in_force=examples.POLICY), **problems(401, 403, 503)},
)
def get_policy(caller: Reader, parts: PartsOf) -> PolicyView:
    """
    See the rules in force: operating points with their errors, and which cues have a say.

    A cue has one only where the verdicts were shown to be better with it; all others are shown as
    information. A network that was promoted brings lines of its own, and this shows them.
    """
    del caller  # it is the same for all
    return PolicyView.of(policies.in_force(parts.db))
