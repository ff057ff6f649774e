"""Whose call it was, for calls from telemetry: applications that know nothing of us name a service and a model."""

from msgspec.structs import replace

from optimizer.core.declaration import is_observed
from optimizer.model import FeedbackEvent, Listing, Service

VARIANT = "llm_optimizer.variant"


def attribute(event: FeedbackEvent, listing: Listing) -> FeedbackEvent:
    """The event with its variant: as told, else the only declared variant with this model, else unattributed.

    A service that was only observed has no variants of its own yet: what a call says is kept among its attributes.
    """
    if event.assignment_id is not None:
        return event
    if event.variant is not None:
        if event.variant in listing.variants or not is_observed(listing.service):
            return event
        return replace(event, variant=None, attributes={**event.attributes, VARIANT: event.variant})
    variant = variant_of(listing.service, event)
    return event if variant is None else replace(event, variant=variant)


def variant_of(service: Service, event: FeedbackEvent) -> str | None:
    """The variant whose configuration has the call's requested model, else its answering one, when that is only one.

    Several variants with one model are told apart by the provider; where that does not do, nothing is guessed.
    """
    for model in (event.model, event.response_model):
        if model is None:
            continue
        fitting = [variant for variant in service.variants if variant.config.get("model") == model]
        if len(fitting) > 1 and event.provider is not None:
            fitting = [variant for variant in fitting if variant.config.get("provider") == event.provider]
        if fitting:
            return fitting[0].name if len(fitting) == 1 else None
    return None
