"""Traces of requests, tasks and runs over OTLP/HTTP, where HONE_OTLP_ENDPOINT names a collector.

OpenTelemetry is imported by `start` alone, so a process without a collector has none of it in memory. A span says which
view, task or run, how it ended and how long it took, and the request that it belongs to; no address with what is in it,
no text, no person. A message carries the trace of whoever sent it, so a task is below its request.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

RUN_TASK = "rlhf.execute_run"
MILLISECONDS_TO_SEND = 2_000

_tracer: "Tracer | None" = None
_provider: Any = None


def start(endpoint: str, *, program: str, share: int) -> None:
    """After a fork: spans are sent from a thread. share: percent of the traces that are kept."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    global _tracer, _provider
    _provider = TracerProvider(
        resource=Resource({"service.name": program}), sampler=ParentBased(TraceIdRatioBased(share / 100))
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=10)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("hone")


def stop() -> None:
    """Send what waits, and trace nothing more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.force_flush(MILLISECONDS_TO_SEND)
        _provider.shutdown()
    _tracer = _provider = None


def request_span(*, request: str, traceparent: str | None) -> "AbstractContextManager[RequestSpan | None]":
    """Around a request; None where nothing is traced. traceparent: of one's own proxy."""
    return nullcontext() if _tracer is None else _request_span(_tracer, request, traceparent)


class RequestSpan:
    def __init__(self, span: Any) -> None:
        self._span = span

    def end(self, *, method: str, view: str, status: int) -> None:
        """What became of the request: known when it has a reply."""
        self._span.update_name(f"{method} {view}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": view, "http.response.status_code": status}
        )
        if status >= 500:
            fail(self._span)


@contextmanager
def _request_span(tracer: "Tracer", request: str, traceparent: str | None) -> Iterator[RequestSpan]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        "request",
        context=_context(traceparent),
        kind=SpanKind.SERVER,
        attributes={"hone.request": request},
        record_exception=False,
    ) as span:
        yield RequestSpan(span)


def headers() -> dict[str, str]:
    """What a message carries of the span in which it is sent."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


@contextmanager
def task_span(task: str, *, traceparent: str | None, request: str, run: str) -> "Iterator[Any]":
    """Around a task of a worker that traces; the attributes of a run are set by `describe_run`."""
    from opentelemetry.trace import SpanKind

    assert _tracer is not None  # as whoever connects to the signals of tasks has made sure
    ids = {name: value for name, value in (("hone.request", request), ("hone.run", run)) if value}
    with _tracer.start_as_current_span(
        task,
        context=_context(traceparent),
        kind=SpanKind.CONSUMER,
        attributes={"hone.task": task, **ids},
        record_exception=False,
    ) as span:
        yield span


def describe_run(span: Any, *, stage: str, status: str, attempt: int) -> None:
    """A run's span is called by its stage, and failed as the run did."""
    span.update_name(f"run {stage}")
    span.set_attributes({"hone.run.stage": stage, "hone.run.status": status, "hone.run.attempt": attempt})
    if status == "failed":
        fail(span)


def fail(span: Any) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def _context(traceparent: str | None) -> Any:
    """Of a caller; None where there is none, or it is no such header."""
    if not traceparent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})
