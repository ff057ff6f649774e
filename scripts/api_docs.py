"""Writes docs/api.md from proto/, the access rules and the list of methods that are still to come.

python -m scripts.api_docs
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from optimizer.grpc_api.assembly import later_methods
from optimizer.grpc_api.rules import PUBLIC, RULES
from scripts.protos import ROOT, descriptors

TARGET = ROOT / "docs/api.md"
ORDER = ("routing", "feedback", "rollouts", "optimization", "config", "metrics", "integrations", "health", "admin")
SERVICE_FIELD, METHOD_FIELD = 6, 2  # of FileDescriptorProto and ServiceDescriptorProto, in SourceCodeInfo paths
HEAD = (ROOT / "docs/api.head.md").read_text()


def render(files: FileDescriptorSet) -> str:
    """The whole document."""
    by_name = {file.package.rsplit(".", 1)[-1]: file for file in files.file}
    parts = [HEAD.rstrip(), ""]
    for name in ORDER:
        parts += list(_file(by_name[name]))
    parts += ["## Methods still to come", "", "They answer UNIMPLEMENTED with the reason, and do nothing.", ""]
    parts += ["| method | reason |", "|---|---|"]
    parts += [f"| `{path[1:]}` | {reason} |" for path, reason in sorted(later_methods().items())]
    return "\n".join(parts) + "\n"


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(place.path): _clean(place.leading_comments) for place in file.source_code_info.location}
    for s, service in enumerate(file.service):
        yield f"## {service.name}"
        yield ""
        yield f"`{file.name}`, package `{file.package}`. {comments.get((SERVICE_FIELD, s), '')}".rstrip()
        yield ""
        yield "| method | request → reply | needs | |"
        yield "|---|---|---|---|"
        for m, method in enumerate(service.method):
            yield _row(file, service, method, comments.get((SERVICE_FIELD, s, METHOD_FIELD, m), ""))
        yield ""


def _row(file: FileDescriptorProto, service: ServiceDescriptorProto, method: MethodDescriptorProto, said: str) -> str:
    takes = _short(method.input_type, method.client_streaming)
    gives = _short(method.output_type, method.server_streaming)
    rule: Any = RULES[f"/{file.package}.{service.name}/{method.name}"]
    needs = "nothing (public)" if rule is PUBLIC else f"`{rule.value}`"
    return f"| `{method.name}` | {takes} → {gives} | {needs} | {said} |"


def _short(name: str, streaming: bool) -> str:
    return ("stream of " if streaming else "") + f"`{name.rsplit('.', 1)[-1]}`"


def _clean(comment: str) -> str:
    return " ".join(line.strip() for line in comment.strip().splitlines()).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(render(descriptors(comments=True)))
