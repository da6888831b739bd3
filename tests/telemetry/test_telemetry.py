"""Telemetry as a real OTLP receiver and a real scrape get it; switched off, it costs nothing."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from controller.errors import Refused, Unavailable
from controller.telemetry import OFF, Forecast, Telemetry, configure
from controller.telemetry.listener import parse_listener
from controller.telemetry.listening import Listening

ROOT = Path(__file__).parent.parent.parent


class Receiver(ThreadingHTTPServer):
    """An OTLP collector that keeps all it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Intake)
        self.received: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> dict[str, Span]:
        """Every span by its name."""
        found = {}
        for path, body in self.received:
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        found |= {span.name: span for span in scope.spans}
        return found

    def metrics(self) -> set[str]:
        """The name of every metric."""
        return {metric.name for path, body in self.received if path == "/v1/metrics"
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
                for scope in resource.scope_metrics for metric in scope.metrics}


class Intake(BaseHTTPRequestHandler):
    """Takes what is posted."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep the body and say that all is well."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served() -> Iterator[Listening]:
    telemetry = configure("127.0.0.1:0", {})
    assert isinstance(telemetry, Listening)
    yield telemetry
    telemetry.close()


def scrape(telemetry: Listening) -> str:
    assert telemetry._endpoint is not None
    url = f"http://127.0.0.1:{telemetry._endpoint.port}/metrics"
    with urllib.request.urlopen(url, timeout=60) as reply:
        return str(reply.read().decode())


def speak(telemetry: Telemetry) -> None:
    """Say one of everything."""
    telemetry.nodes({"paris-1": 2.0, "paris-2": None, "milan-1": 4.0})
    telemetry.action("start-domain", "done", 0.2)
    telemetry.refusal("storm")
    telemetry.planned(0.004)
    telemetry.polled(0.05, answered=True)
    telemetry.polled(10.0, answered=False)
    telemetry.conditions({("Ready", "true"): 30, ("Ready", "unknown"): 5})
    telemetry.sites({"paris": Forecast(17, 1, 250.0, 192.0)})
    telemetry.loop_lag(0.002)
    telemetry.cycle_ended()


def test_spans_of_one_cycle_form_one_tree_across_awaits(receiver: Receiver) -> None:
    telemetry = configure(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})

    async def observe(node: str) -> None:
        with telemetry.span("observe", node=node):
            await asyncio.sleep(0)

    async def cycle() -> None:
        with telemetry.span("cycle", revision="abc"):
            await asyncio.gather(observe("paris-1"), observe("paris-2"))
            with telemetry.span("decide"), telemetry.span("plan", steps=3):
                pass
            with telemetry.span("apply", verb="start-domain", target="VirtualMachine/sql"):
                await asyncio.sleep(0)

    asyncio.run(cycle())
    telemetry.close()
    spans = receiver.spans()
    assert set(spans) == {"cycle", "observe", "decide", "plan", "apply"}
    assert {spans[name].parent_span_id for name in ("observe", "decide", "apply")} == {
        spans["cycle"].span_id}
    assert spans["plan"].parent_span_id == spans["decide"].span_id
    said = {item.key: item.value.string_value for item in spans["apply"].attributes}
    assert said == {"hotsite.verb": "start-domain", "hotsite.target": "VirtualMachine/sql"}


def test_a_failure_marks_the_span_and_sends_no_stack(receiver: Receiver) -> None:
    telemetry = configure(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
    with pytest.raises(Unavailable), telemetry.span("apply"):
        raise Unavailable("paris-1 did not answer")
    telemetry.close()
    span = receiver.spans()["apply"]
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert list(span.events) == []


def test_metrics_arrive_over_otlp_before_closing_returns(receiver: Receiver) -> None:
    telemetry = configure(
        None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics"})
    speak(telemetry)
    telemetry.close()
    assert receiver.metrics() == {
        "hotsite.nodes", "hotsite.fact.age", "hotsite.action.duration", "hotsite.refusals",
        "hotsite.plan.duration", "hotsite.poll.duration", "hotsite.conditions", "hotsite.loop.lag",
        "hotsite.site.machines", "hotsite.site.last.start", "hotsite.site.loss",
        "hotsite.cycle.age"}
    assert receiver.spans() == {}


def test_a_scrape_shows_every_figure(served: Listening) -> None:
    speak(served)
    text = scrape(served)
    for line in ('hotsite_nodes{state="known"} 2.0',
                 'hotsite_nodes{state="unknown"} 1.0',
                 'hotsite_action_duration_seconds_count{outcome="done",verb="start-domain"} 1.0',
                 'hotsite_refusals_total{rule="storm"} 1.0',
                 "hotsite_plan_duration_seconds_count 1.0",
                 'hotsite_poll_duration_seconds_count{answered="false"} 1.0',
                 'hotsite_conditions{status="unknown",type="Ready"} 5.0',
                 'hotsite_site_machines{returns="yes",site="paris"} 17.0',
                 'hotsite_site_machines{returns="no",site="paris"} 1.0',
                 'hotsite_site_last_start_seconds{site="paris"} 250.0',
                 'hotsite_site_loss_seconds{site="paris"} 192.0',
                 "hotsite_loop_lag_seconds_count 1.0"):
        assert line in text
    ages = re.findall(r'hotsite_fact_age_seconds\{node="([^"]+)"\} ([0-9.]+)', text)
    assert [(node, float(age) >= 2.0) for node, age in sorted(ages)] == [
        ("milan-1", True), ("paris-1", True)]


def test_ages_grow_by_themselves_while_the_loop_is_silent(served: Listening) -> None:
    def age() -> float:
        found = re.search(r'fact_age_seconds\{node="a"\} ([0-9.]+)', scrape(served))
        assert found is not None
        return float(found[1])

    served.nodes({"a": 5.0})
    assert 5.0 < age() < age()


def test_a_node_that_is_no_longer_declared_leaves_no_figure_behind(served: Listening) -> None:
    served.nodes({"paris-1": 1.0})
    assert 'node="paris-1"' in scrape(served)
    served.nodes({})
    assert 'node="paris-1"' not in scrape(served)


def test_closing_frees_the_port() -> None:
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        configure(f"127.0.0.1:{port}", {}).close()
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf":{port}: .*name another port"):
            configure(f"127.0.0.1:{port}", {})


def test_a_collector_that_is_gone_delays_the_end_by_seconds_only(
        caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        telemetry = configure(None, {"OTEL_EXPORTER_OTLP_ENDPOINT":
                                     f"http://127.0.0.1:{silent.getsockname()[1]}"})
        with telemetry.span("cycle"):
            speak(telemetry)
        begun = time.monotonic()
        telemetry.close()
        assert time.monotonic() - begun < 90, "by itself a collector is waited for for minutes"
    assert caplog.records, "the failure is logged"


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464"])
def test_only_this_machine_can_scrape_unless_told_otherwise(text: str) -> None:
    with pytest.raises(Refused, match="others could reach it"):
        configure(text, {})
    assert parse_listener(text, anywhere=True).port == 9464


@pytest.mark.parametrize("text", ["9464", "127.0.0.1", "127.0.0.1:", ":9464", "host:9464",
                                  "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1", ""])
def test_what_is_no_address_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(Refused, match=r"write it like 127\.0\.0\.1:9464"):
        configure(text, {})


def test_names_of_this_machine_are_understood() -> None:
    assert parse_listener("localhost:1") == ("127.0.0.1", 1)
    assert parse_listener("[::1]:2") == ("::1", 2)


@pytest.mark.parametrize("env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}])
def test_nobody_listens_unless_asked(env: dict[str, str]) -> None:
    assert configure(None, env) is OFF
    assert not OFF.enabled


def test_off_imports_nothing_of_what_listens() -> None:
    program = ("import sys\n"
               "import controller.telemetry\n"
               "controller.telemetry.configure(None, {})\n"
               "names = ('opentelemetry', 'prometheus_client', 'requests', 'pydantic', 'asyncio')\n"
               "sys.stdout.write(' '.join(name for name in names if name in sys.modules))\n")
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True,
                          capture_output=True, text=True)
    assert told.stdout == ""


def test_off_keeps_nothing_of_what_it_is_told() -> None:
    with OFF.span("cycle", revision="abc") as kept:
        speak(OFF)
    assert kept is None
    assert OFF.span("cycle") is OFF.span("observe", node="paris-1")
    assert vars(OFF) == {}
