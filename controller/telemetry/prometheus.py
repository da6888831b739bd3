"""`/metrics` for Prometheus, served by a thread of its own."""

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from controller.errors import Unavailable
from controller.telemetry.listener import Listener


class Endpoint:
    """A listening socket, and the metric reader that serves it."""

    def __init__(self, listener: Listener) -> None:
        registry = CollectorRegistry()
        try:
            self._server, self._thread = start_http_server(
                listener.port, listener.address, registry)
        except OSError as error:
            raise Unavailable(f"cannot listen on {listener.address}:{listener.port}: "
                              f"{error.strerror}; name another port") from error
        ProcessCollector(registry=registry)
        self.reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry)

    @property
    def port(self) -> int:
        """Return the TCP port that was bound."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
