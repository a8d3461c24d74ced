"""Is every container that the gateway lets in one that the decoder can open, and no other?"""

from app.domain.container import Container
from workers.detection.formats import DEMUXERS


def test_the_gateway_and_the_decoder_let_the_same_containers_in() -> None:
    assert set(DEMUXERS) == {container.value for container in Container}
