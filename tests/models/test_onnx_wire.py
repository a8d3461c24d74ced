"""Is a tensor that lies outside of the file found, wherever in the model it hides?"""

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

from models.onnx_wire import DATA_LOCATION, EXTERNAL_DATA, TENSOR_PATHS, OnnxFileError
from models.onnx_wire import check_self_contained as check
from tests.make_models import make_classifier_onnx


def make_external(location: str = "secret") -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def make_holder() -> onnx.ModelProto:
    return onnx.ModelProto.FromString(make_classifier_onnx())


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(make_external())


def in_sparse_initializer(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(make_external())


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=make_external()))


def in_subgraph_of_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [make_external()])
    outer = helper.make_graph(
        [helper.make_node("If", ["b"], ["o"], then_branch=inner)], "o", [], []
    )
    model.graph.node.append(helper.make_node("If", ["a"], ["p"], else_branch=outer))


def in_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=make_external())
    model.functions.add(name="f", domain="d").node.append(node)


def in_training_info(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(make_external())


def without_location_flag(model: onnx.ModelProto) -> None:
    tensor = make_external()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)


@pytest.mark.parametrize(
    "hide",
    [
        in_initializer,
        in_sparse_initializer,
        in_attribute,
        in_subgraph_of_subgraph,
        in_function,
        in_training_info,
        without_location_flag,
    ],
)
def test_a_tensor_outside_of_the_file_is_refused(hide: Callable[[onnx.ModelProto], None]):
    model = make_holder()
    hide(model)

    with pytest.raises(OnnxFileError, match="outside of the file"):
        check(model.SerializeToString())


def test_a_model_that_holds_all_of_its_tensors_passes():
    check(make_classifier_onnx())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        b"PK\x03\x04" + bytes(100),
        b"\x1c\x00\x00\x00ORTM" + bytes(100),
        bytes(1000),
        b"\xff" * 1000,
    ],
    ids=["nothing", "pickle", "zip", "flatbuffer", "zeros", "ones"],
)
def test_what_is_not_onnx_is_refused(content: bytes):
    with pytest.raises(OnnxFileError):
        check(content)


def test_a_file_that_was_cut_anywhere_never_passes_for_another_model():
    whole = make_classifier_onnx()
    graph_ends = whole.index(b"test") + len(b"test")  # the graph's name; past it lie in and outputs

    for end in range(0, graph_ends, 7):
        with pytest.raises(OnnxFileError):
            check(whole[:end])


def test_the_table_has_every_field_through_which_onnx_reaches_a_tensor():
    target = TensorProto.DESCRIPTOR.name
    messages = {
        d.name: d
        for d in vars(onnx.onnx_ml_pb2).values()
        for d in [getattr(d, "DESCRIPTOR", None)]
        if hasattr(d, "fields") and hasattr(d, "full_name")
    }
    edges = {
        name: {f.number: f.message_type.name for f in d.fields if f.message_type is not None}
        for name, d in messages.items()
    }
    reaching = {target}
    while more := {n for n, e in edges.items() if reaching & set(e.values())} - reaching:
        reaching |= more
    expected = {
        n: {k: v for k, v in e.items() if v in reaching}
        for n, e in edges.items()
        if n in reaching - {target}
    }
    fields = TensorProto.DESCRIPTOR.fields_by_name

    assert expected == TENSOR_PATHS
    assert (fields["external_data"].number, fields["data_location"].number) == (
        EXTERNAL_DATA,
        DATA_LOCATION,
    )
