"""Does the small network give directions, and start from where its teacher is?"""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from models.nets.face_embedding import ALL, DIMENSIONS, SIDE_PX, FaceEmbedding
from workers.training.tasks.embedding import teacher_layers


def noise(count: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), np.uint8))


def layers_of(network: FaceEmbedding) -> list[tuple[Tensor, Tensor]]:
    """Return what `load_teacher` takes, of a network with every block; pictures are BGR to it."""
    found = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            found.append((module.weight.detach(), module.bias.detach()))
    weight, bias = found[0]
    return [(weight.flip(1), bias), *found[1:]]


def make_network(seed: int = 0, **options: object) -> FaceEmbedding:
    torch.manual_seed(seed)
    return FaceEmbedding(**options).eval()  # type: ignore[arg-type]


def test_every_face_gets_a_direction():
    vectors = make_network()(noise(3))

    assert vectors.shape == (3, DIMENSIONS)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_a_face_points_the_same_way_whatever_else_is_in_the_batch():
    network, faces = make_network(), noise(4)

    torch.testing.assert_close(network(faces)[2], network(faces[2:3])[0], atol=1e-5, rtol=0)


def test_a_network_with_every_block_of_the_teacher_is_the_teacher():
    teacher, child = make_network(1, kept=ALL), make_network(2, kept=ALL)

    child.load_teacher(layers_of(teacher))

    torch.testing.assert_close(child(noise(2)), teacher(noise(2)))


def test_a_small_network_takes_the_layers_of_the_blocks_that_it_has():
    teacher = make_network(1, kept=ALL)
    child = make_network(2, kept=((3,), (0,), ()))

    child.load_teacher(layers_of(teacher))

    assert child.trunk[1].widen.weight.equal(teacher.trunk[4].widen.weight)
    assert child.trunk[2].look.weight.equal(teacher.trunk[5].look.weight)
    assert child.head.weight.equal(teacher.head.weight)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="want 51 convolutions, got 3"):
        make_network().load_teacher(layers_of(make_network(kept=ALL))[:3])


def test_it_stays_small():
    assert sum(p.numel() for p in make_network().parameters()) < 700_000


def test_with_every_block_it_answers_as_the_published_network_does(shared_weights):
    content = (shared_weights / "mobilefacenet_128d.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content)
    network = make_network(kept=ALL)
    network.load_teacher(teacher_layers(content))
    faces = noise(2)

    with torch.no_grad():
        found = network(faces).numpy()

    for face, vector in zip(faces.numpy(), found, strict=True):
        batch = (face[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 127.5
        (told,) = session.run(None, {"input": batch})
        expected = told[0] / np.linalg.norm(told[0])
        np.testing.assert_allclose(vector, expected, atol=2e-4)
