"""Spans and metrics. The only room that imports OpenTelemetry, and only when it is switched on."""

from controller.telemetry.configure import configure
from controller.telemetry.telemetry import OFF, Forecast, LoopFigures, SpanAttributes, Telemetry

__all__ = ["OFF", "Forecast", "LoopFigures", "SpanAttributes", "Telemetry", "configure"]
