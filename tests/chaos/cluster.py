"""The broker of the crash tests: one listener for those who watch, and one that only a proxy leads to."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tickcast.broker import HOST, Broker, Listener

from chaos.proxy import Proxy

PROXIED = "PROXIED"


@contextmanager
def proxied_broker(settings: Mapping[str, str] | None = None) -> Iterator[tuple[Broker, Proxy]]:
    """A broker that can be killed and started again; whoever asks it through the proxy is sent to the proxy."""
    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        port = chosen.getsockname()[1]
    with Proxy(port) as proxy:
        listeners = {PROXIED: Listener(port, advertised=f"{HOST}:{proxy.port}")}
        with Broker(settings=settings, listeners=listeners) as broker:
            yield broker, proxy
