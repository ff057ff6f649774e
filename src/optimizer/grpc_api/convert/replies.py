"""The status inside replies, and pages."""

from typing import TypeVar

from optimizer.core.paging import Page, paginate
from optimizer.grpc_api.pb.common_pb2 import (
    RESPONSE_STATUS_PARTIAL_SUCCESS,
    RESPONSE_STATUS_SUCCESS,
    ApiResponse,
    ErrorDetail,
    PageRequest,
    PageResponse,
)
from optimizer.model import InvalidArgument, OptimizerError

T = TypeVar("T")


def success(message: str = "") -> ApiResponse:
    """Everything that was asked for was done."""
    return ApiResponse(status=RESPONSE_STATUS_SUCCESS, message=message)


def partial(message: str, errors: list[ErrorDetail] | None = None) -> ApiResponse:
    """A part of what was asked for was done, or could be answered."""
    return ApiResponse(status=RESPONSE_STATUS_PARTIAL_SUCCESS, message=message, errors=errors)


def error_detail(error: OptimizerError, *, index: int | None = None) -> ErrorDetail:
    """One item's failure; `index` is its place in the request."""
    metadata = {} if index is None else {"index": str(index)}
    field = error.field or "" if isinstance(error, InvalidArgument) else ""
    return ErrorDetail(code=code_of(error), message=str(error), field=field, metadata=metadata)


def code_of(error: OptimizerError) -> str:
    """The name of the gRPC status that the error would end a call with."""
    from optimizer.grpc_api.calls.failures import explain

    failure = explain(error)
    return "INTERNAL" if failure is None else failure.status.name


def page_of(items: list[T], request: PageRequest) -> Page[T]:
    """The asked page of a list. Raises InvalidArgument."""
    return paginate(items, request.page, request.page_size)


def to_page(page: Page[T]) -> PageResponse:
    """Where the page lies."""
    return PageResponse(total_items=page.total, total_pages=page.pages, current_page=page.number, page_size=page.size)
