"""Telemetry that is on: OpenTelemetry's spans and instruments, over OTLP, Prometheus or both."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Unpack

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from controller import __version__
from controller.telemetry.listener import Listener
from controller.telemetry.prometheus import Endpoint
from controller.telemetry.telemetry import (
    Forecast,
    LoopFigures,
    SpanAttributes,
    SpanName,
    Telemetry,
)

EXPORT_S = 5.0
"""One export may take this long, and `close` about as long."""
BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def listen(listener: Listener | None, env: Mapping[str, str]) -> "Listening":
    """Return telemetry that is served at `listener`, and exported as `env` says."""
    resource = Resource.create({"service.version": __version__}
                               | ({} if env.get("OTEL_SERVICE_NAME")
                                  else {"service.name": "hotsite"}))
    endpoint = None if listener is None else Endpoint(listener)
    readers: list[MetricReader] = [] if endpoint is None else [endpoint.reader]
    traces, metrics = otlp_endpoint(env, "traces"), otlp_endpoint(env, "metrics")
    if metrics:
        readers.append(PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=metrics, timeout=EXPORT_S)))
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if traces:
        tracer_provider.add_span_processor(BatchSpanProcessor(
            OTLPSpanExporter(endpoint=traces, timeout=EXPORT_S)))
    meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    return Listening(tracer_provider, meter_provider, endpoint)


def otlp_endpoint(env: Mapping[str, str], signal: str) -> str:
    """Return the OTLP endpoint of a signal by the standard's rules; empty when there is none."""
    own = env.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "")
    base = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return own or (f"{base.rstrip('/')}/v1/{signal}" if base else "")


class Listening(Telemetry):
    """Counts and times everything, and keeps the last state for whoever asks."""

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider,
                 endpoint: Endpoint | None) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._endpoint = endpoint
        self._tracer = tracer_provider.get_tracer("hotsite", __version__)
        self._ages_s: Mapping[str, float | None] = {}
        self._ages_at = self._cycle_at = time.monotonic()
        self._conditions: Mapping[tuple[str, str], int] = {}
        self._sites: Mapping[str, Forecast] = {}
        self._figures: LoopFigures | None = None
        self._waiting: Mapping[str, int] = {}
        meter = meter_provider.get_meter("hotsite", __version__)
        self._actions = meter.create_histogram(
            "hotsite.action.duration", "s", "Actions that ended, by verb and outcome",
            explicit_bucket_boundaries_advisory=BUCKETS_S)
        self._refusals = meter.create_counter(
            "hotsite.refusals", "{refusal}", "Actions that a gate refused, by rule")
        self._plans = meter.create_histogram(
            "hotsite.plan.duration", "s", "Time to compute a plan",
            explicit_bucket_boundaries_advisory=BUCKETS_S)
        self._polls = meter.create_histogram(
            "hotsite.poll.duration", "s", "Polls of nodes, by whether they answered",
            explicit_bucket_boundaries_advisory=BUCKETS_S)
        self._lag = meter.create_histogram(
            "hotsite.loop.lag", "s", "How late the event loop wakes",
            explicit_bucket_boundaries_advisory=BUCKETS_S)
        self._notified = meter.create_counter(
            "hotsite.notifications", "{try}", "Tries to tell somebody, by receiver and outcome")
        for name, unit, text, callback in (
                ("hotsite.nodes", "{node}", "Declared nodes, by whether they are known",
                 self._count_nodes),
                ("hotsite.fact.age", "s", "Age of a known node's facts", self._fact_ages),
                ("hotsite.conditions", "{condition}", "Conditions, by type and status",
                 self._count_conditions),
                ("hotsite.site.machines", "{machine}",
                 "Protected VMs of a site, by whether they would come back if it were lost now",
                 self._count_returns),
                ("hotsite.site.last.start", "s",
                 "Predicted time from the loss of a site until its last VM has started elsewhere",
                 lambda _: self._forecasts(lambda one: one.last_start_s)),
                ("hotsite.site.loss", "s",
                 "What the VM of a site with the oldest restore point would lose now",
                 lambda _: self._forecasts(lambda one: one.loss_s)),
                ("hotsite.steps", "{step}", "Steps of the last plan, by what is ruled on them",
                 self._count_steps),
                ("hotsite.failovers", "{failover}", "Failovers that are open, by their phase",
                 self._open_failovers),
                ("hotsite.journal.writable", "1", "Whether the journal can be written",
                 lambda _: self._of_loop(lambda one: one.journal_writable)),
                ("hotsite.conducts", "1", "Whether this controller is the one that acts",
                 lambda _: self._of_loop(lambda one: one.conducts)),
                ("hotsite.notifications.waiting", "{message}",
                 "Messages that wait, by receiver", self._count_waiting),
                ("hotsite.cycle.age", "s", "Time since the loop came round", self._cycle_age)):
            meter.create_observable_gauge(name, [callback], unit, text)

    @property
    def enabled(self) -> bool:
        """Return True."""
        return True

    def span(self, name: SpanName,
             **attributes: Unpack[SpanAttributes]) -> AbstractContextManager[None]:
        """Open a span; an error inside marks it, without the stack trace."""
        return self._span(name, attributes)

    @contextmanager
    def _span(self, name: str, attributes: SpanAttributes) -> Iterator[None]:
        """Open a span, its attributes under our own prefix."""
        given = {f"hotsite.{key}": value for key, value in attributes.items()
                 if isinstance(value, str | int)}
        with self._tracer.start_as_current_span(name, attributes=given, record_exception=False):
            yield

    def nodes(self, ages_s: Mapping[str, float | None]) -> None:
        """Keep the ages; they grow until the next call."""
        self._ages_s, self._ages_at = dict(ages_s), time.monotonic()

    def action(self, verb: str, outcome: str, duration_s: float) -> None:
        """Count one action that ended."""
        self._actions.record(duration_s, {"verb": verb, "outcome": outcome})

    def refusal(self, rule: str) -> None:
        """Count one action that a gate refused."""
        self._refusals.add(1, {"rule": rule})

    def planned(self, duration_s: float) -> None:
        """Count one plan."""
        self._plans.record(duration_s)

    def polled(self, duration_s: float, *, answered: bool) -> None:
        """Count one poll."""
        self._polls.record(duration_s, {"answered": answered})

    def conditions(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Keep the counts."""
        self._conditions = dict(counts)

    def sites(self, forecasts: Mapping[str, Forecast]) -> None:
        """Keep the forecasts."""
        self._sites = dict(forecasts)

    def loop(self, figures: LoopFigures) -> None:
        """Keep the figures."""
        self._figures = figures

    def notified(self, receiver: str, outcome: str) -> None:
        """Count one try."""
        self._notified.add(1, {"receiver": receiver, "outcome": outcome})

    def waiting(self, counts: Mapping[str, int]) -> None:
        """Keep the counts."""
        self._waiting = dict(counts)

    def loop_lag(self, lag_s: float) -> None:
        """Record one lag."""
        self._lag.record(max(0.0, lag_s))

    def cycle_ended(self) -> None:
        """Keep the time of the last decision."""
        self._cycle_at = time.monotonic()

    def close(self) -> None:
        """Send what is buffered, then stop; an unreachable receiver costs seconds at most."""
        with ThreadPoolExecutor(1) as beside:
            beside.submit(self._tracer_provider.shutdown)
            self._meter_provider.shutdown(timeout_millis=EXPORT_S * 1000)
        if self._endpoint is not None:
            self._endpoint.close()

    def _count_nodes(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return how many nodes are known and how many are not."""
        known = sum(age is not None for age in self._ages_s.values())
        return (Observation(known, {"state": "known"}),
                Observation(len(self._ages_s) - known, {"state": "unknown"}))

    def _fact_ages(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return the age of each known node's facts now."""
        since_s = time.monotonic() - self._ages_at
        return [Observation(age_s + since_s, {"node": node})
                for node, age_s in sorted(self._ages_s.items()) if age_s is not None]

    def _count_conditions(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return how many conditions there are of each type and status."""
        return [Observation(count, {"type": kind, "status": status})
                for (kind, status), count in sorted(self._conditions.items())]

    def _count_returns(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return how many VMs of each site would come back, and how many would not."""
        return [Observation(count, {"site": site, "returns": returns})
                for site, one in sorted(self._sites.items())
                for returns, count in (("yes", one.returns), ("no", one.hindered))]

    def _forecasts(self, figure: Callable[[Forecast], float | None]) -> Iterable[Observation]:
        """Return one figure of each site that has it."""
        return [Observation(value, {"site": site}) for site, one in sorted(self._sites.items())
                if (value := figure(one)) is not None]

    def _count_steps(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return how many steps there are of each ruling."""
        return [] if self._figures is None else [
            Observation(count, {"ruling": ruling})
            for ruling, count in sorted(self._figures.steps.items())]

    def _open_failovers(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return a one for each failover that is open."""
        return [] if self._figures is None else [
            Observation(1, {"scope": scope, "phase": phase})
            for scope, phase in sorted(self._figures.failovers.items())]

    def _of_loop(self, figure: Callable[[LoopFigures], bool]) -> Iterable[Observation]:
        """Return one yes or no of the loop."""
        return [] if self._figures is None else [Observation(int(figure(self._figures)))]

    def _count_waiting(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return how many messages wait for each receiver."""
        return [Observation(count, {"receiver": name})
                for name, count in sorted(self._waiting.items())]

    def _cycle_age(self, _: CallbackOptions) -> Iterable[Observation]:
        """Return the time since the last decision."""
        return [Observation(time.monotonic() - self._cycle_at)]
