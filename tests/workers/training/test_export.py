from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from models.onnx_wire import check_self_contained
from workers.training.export import check_same, export_onnx
from workers.training.task import Served


class Tiny(nn.Module):
    """Preprocessing, a convolution, dropout, and a mean over all pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 1)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        x = faces.permute(0, 3, 1, 2).float() / 255
        x = self.drop(torch.relu(self.norm(self.conv(x))))
        return self.head(x.mean(dim=(2, 3)))[:, 0], torch.sigmoid(x[:, 0])


def served(module: nn.Module, **dynamic: object) -> Served:
    pixels = torch.randint(0, 256, (2, 32, 40, 3), generator=torch.Generator().manual_seed(1))
    return Served(
        module=module,
        example={"faces": pixels.to(torch.uint8)},
        outputs=("fake_logit", "mask"),
        dynamic={"faces": dynamic.get("axes", {0: torch.export.Dim.DYNAMIC})},
    )


@pytest.fixture(scope="module")
def tiny() -> Served:
    return served(Tiny())


@pytest.fixture(scope="module")
def tiny_onnx(tiny: Served) -> bytes:
    return export_onnx(tiny)


def test_the_file_answers_as_the_network_does_for_every_batch(tiny: Served, tiny_onnx: bytes):
    assert check_same(tiny, tiny_onnx) < 1e-5


def test_the_file_takes_uint8_and_keeps_the_names(tiny_onnx: bytes):
    session = onnxruntime.InferenceSession(tiny_onnx, providers=["CPUExecutionProvider"])

    (only,) = session.get_inputs()
    assert (only.name, only.type) == ("faces", "tensor(uint8)")
    assert [o.name for o in session.get_outputs()] == ["fake_logit", "mask"]
    logit, _ = session.run(None, {"faces": np.zeros((3, 32, 40, 3), np.uint8)})
    assert logit.shape == (3,)
    assert logit.dtype == np.float32


def test_the_file_is_whole_and_says_nothing_of_the_machine(tiny_onnx: bytes):
    check_self_contained(tiny_onnx)

    for path in (Path(__file__), Path(torch.__file__).parent):
        assert str(path).encode() not in tiny_onnx
    assert b".py" not in tiny_onnx


def test_the_same_network_gives_the_same_bytes(tiny_onnx: bytes):
    assert export_onnx(served(Tiny())) == tiny_onnx


def test_a_network_that_learns_is_exported_as_it_answers_and_goes_on_learning():
    module = Tiny().train()

    assert check_same(served(module), export_onnx(served(module))) < 1e-5
    assert module.training


def test_pictures_of_any_size_may_be_asked_for():
    free = torch.export.Dim.DYNAMIC
    wide = served(Tiny(), axes={0: free, 1: free, 2: free})

    assert check_same(wide, export_onnx(wide)) < 1e-5


def test_another_network_is_told_apart(tiny_onnx: bytes):
    other = Tiny()
    with torch.no_grad():
        other.head.bias += 0.5

    assert check_same(served(other), tiny_onnx) == pytest.approx(0.5, abs=1e-4)


def test_a_network_that_gives_no_number_is_refused(tiny_onnx: bytes):
    broken = Tiny()
    with torch.no_grad():
        broken.head.bias.fill_(torch.nan)

    with pytest.raises(ValueError, match="fake_logit: not a number"):
        check_same(served(broken), tiny_onnx)
