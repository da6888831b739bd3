"""Spans and metrics. The only room that knows OpenTelemetry."""
