"""Whether telemetry is on: decided once, by the command line and the standard variables."""

from collections.abc import Mapping

from controller.telemetry.telemetry import OFF, Telemetry

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
             "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")


def configure(metrics_listen: str | None, env: Mapping[str, str], *,
              anywhere: bool = False) -> Telemetry:
    """Return telemetry as configured; what is off is not even imported.

    Shapes: `metrics_listen` is the address of the Prometheus endpoint, such as `127.0.0.1:9464`, or
    None; `env` is the process's environment, for the variables of OpenTelemetry.
    Errors: Refused for an address that is invalid or open to others; Unavailable when it is in use.
    """
    exporting = (any(env.get(name) for name in ENDPOINTS)
                 and env.get("OTEL_SDK_DISABLED", "").lower() != "true")
    if metrics_listen is None and not exporting:
        return OFF
    from controller.telemetry.listener import parse_listener  # noqa: PLC0415 -- off costs nothing

    listener = None if metrics_listen is None else parse_listener(metrics_listen, anywhere=anywhere)
    from controller.telemetry.listening import listen  # noqa: PLC0415 -- half a second of imports

    return listen(listener, env if exporting else {})
