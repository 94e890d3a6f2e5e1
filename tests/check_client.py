"""What every Kafka client must do, on a real broker; `test_clients.py` runs each check on every registered one."""

from collections.abc import Callable

import check_client_group
import check_client_reader
import check_client_records
import check_client_transactions
from client_bench import Bench
from tickcast.broker import Broker
from tickcast.clients import CLIENTS

CHECKS: dict[str, Callable[[Bench], None]] = {
    name.removeprefix("check_"): check
    for name, check in sorted(
        (
            vars(check_client_records)
            | vars(check_client_group)
            | vars(check_client_transactions)
            | vars(check_client_reader)
        ).items()
    )
    if name.startswith("check_")
}


def check_client(name: str, broker: Broker, topic: Callable[..., str], check: str) -> None:
    """Run one of `CHECKS` on the client registered as `name`."""
    assert name in CLIENTS
    bench = Bench(name, broker, topic)
    try:
        CHECKS[check](bench)
    finally:
        bench.close_all()
