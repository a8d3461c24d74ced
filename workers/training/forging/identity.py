"""
Does a forged face show whom it should? Asked of a third party's network, which is opt-in.

Our own network for this learned from the third party's; a forger that is measured, or chosen, by it
would be measured by less. `deepverdict models pull mobilefacenet` fetches it, and whatever asks for
it goes without where it was not pulled.
"""

from app.settings import Settings
from models.registry import Presence
from workers.detection.identity import MobileFaceNet
from workers.kit import build_registry

NETWORK = "mobilefacenet"


def load_embedder(settings: Settings) -> MobileFaceNet | None:
    """
    Load the network; None where it was not pulled.

    Raises:
        ModelUnavailable: the bytes in its place are not the ones that the manifest pins.
    """
    registry = build_registry(settings)
    if registry.status(NETWORK).word is Presence.MISSING:
        return None
    network = registry.load(NETWORK)
    return MobileFaceNet(network, sha256=network.sha256)
