"""Spans and metrics. The only room that knows OpenTelemetry, and knows it only when asked to."""

from controller.telemetry.configure import configure
from controller.telemetry.telemetry import OFF, SpanAttributes, Telemetry

__all__ = ["OFF", "SpanAttributes", "Telemetry", "configure"]
