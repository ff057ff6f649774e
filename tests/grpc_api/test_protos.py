"""The wire contract: what clients in the field were generated from still holds, and the generated code is fresh."""

import copy
from collections import Counter
from collections.abc import Callable
from importlib import import_module

import pytest
from google.protobuf import descriptor_pb2

from scripts import api_docs, protos

CONTRACT = ("admin", "common", "config", "health", "integrations", "metrics", "optimization")
OURS = ("feedback", "rollouts", "routing")

Files = descriptor_pb2.FileDescriptorSet


@pytest.fixture(scope="module")
def golden() -> Files:
    return protos.golden()


@pytest.fixture(scope="module")
def current() -> Files:
    return protos.descriptors()


def _file(files: Files, name: str) -> descriptor_pb2.FileDescriptorProto:
    return next(file for file in files.file if file.name == f"llm/optimizer/{name}.proto")


def test_nothing_that_clients_rely_on_changed(golden: Files, current: Files) -> None:
    assert protos.breaking_changes(golden, current) == []


def test_additions_were_taken_into_the_golden_descriptor(golden: Files, current: Files) -> None:
    assert protos.breaking_changes(current, golden) == [], "run `make protos args=--accept`"


def test_the_contract_has_its_seven_files_in_its_packages(current: Files) -> None:
    packages = {file.name: file.package for file in current.file}
    assert packages == {f"llm/optimizer/{name}.proto": f"llm.optimizer.{name}" for name in (*CONTRACT, *OURS)}


def test_the_contract_has_its_full_size(current: Files) -> None:
    files = [_file(current, name) for name in CONTRACT]
    methods = [method for file in files for service in file.service for method in service.method]
    kinds = Counter((method.client_streaming, method.server_streaming) for method in methods)
    assert sum(len(file.service) for file in files) == 6
    assert sum(len(file.message_type) for file in files) == 189
    assert sum(len(file.enum_type) for file in files) == 15
    assert sum(len(enum.value) for file in files for enum in file.enum_type) == 92
    assert kinds == {(False, False): 58, (False, True): 9, (True, False): 3, (True, True): 1}


def test_generated_code_is_fresh() -> None:
    wanted = protos.generate()
    committed = {path.name: path.read_text() for path in protos.GENERATED.glob("*_*.py*") if path.stem != "__init__"}
    assert committed.keys() == wanted.keys()
    stale = [name for name, text in wanted.items() if committed[name] != text]
    assert stale == [], "run `make protos`"


@pytest.mark.parametrize("name", sorted({*CONTRACT, *OURS} - {"common"}))
def test_generated_services_carry_every_method_with_its_kind(name: str, golden: Files) -> None:
    module = import_module(f"optimizer.grpc_api.pb.{name}_grpc")
    for service in _file(golden, name).service:
        base = getattr(module, f"{service.name}Base")
        implemented = {method.name: _answer for method in service.method}
        mapping = type("Everything", (base,), implemented)().__mapping__()
        wanted = {
            f"/llm.optimizer.{name}.{service.name}/{method.name}": (method.client_streaming, method.server_streaming)
            for method in service.method
        }
        assert wanted == {
            path: (handler.cardinality.client_streaming, handler.cardinality.server_streaming)
            for path, handler in mapping.items()
        }


def test_the_documentation_is_fresh() -> None:
    assert api_docs.TARGET.read_text() == api_docs.render(protos.descriptors(comments=True)), "run `make protos`"


async def _answer(self: object, stream: object) -> None:
    """Stands for a method of a service."""


def _remove_field(file: descriptor_pb2.FileDescriptorProto) -> None:
    del file.message_type[0].field[0]


def _renumber_field(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.message_type[0].field[0].number = 99


def _retype_field(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.message_type[0].field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES


def _repeat_field(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.message_type[0].field[0].label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def _remove_message(file: descriptor_pb2.FileDescriptorProto) -> None:
    del file.message_type[0]


def _remove_value(file: descriptor_pb2.FileDescriptorProto) -> None:
    del file.enum_type[0].value[1]


def _renumber_value(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.enum_type[0].value[1].number = 99


def _remove_method(file: descriptor_pb2.FileDescriptorProto) -> None:
    del file.service[0].method[0]


def _stream_method(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.service[0].method[0].server_streaming = True


def _retype_method(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.service[0].method[0].output_type = ".llm.optimizer.common.ApiResponse"


def _rename_package(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.package = "llm.optimizer.other"


BREAKING = [
    _remove_field, _renumber_field, _retype_field, _repeat_field, _remove_message, _remove_value, _renumber_value,
    _remove_method, _stream_method, _retype_method, _rename_package,
]  # fmt: skip


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__.strip("_"))
def test_every_breaking_change_is_noticed(
    golden: Files, change: Callable[[descriptor_pb2.FileDescriptorProto], None]
) -> None:
    changed = copy.deepcopy(golden)
    change(_file(changed, "optimization"))
    assert protos.breaking_changes(golden, changed)


def test_additions_do_not_break(golden: Files) -> None:
    changed = copy.deepcopy(golden)
    file = _file(changed, "optimization")
    file.message_type[0].field.add(name="more", number=500, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    file.message_type.add(name="More")
    file.service[0].method.add(name="DoMore", input_type=".a.B", output_type=".a.C")
    assert protos.breaking_changes(golden, changed) == []
