"""Every error tickcast raises, in one tree.

    TickcastError
    +-- UsageError            exit 78: the operator's input is wrong and a restart will not help
    |   +-- ConfigurationError    a configuration file or environment override
    |   +-- BundleError           a bundle whose hashes, schema, graphs or golden windows do not hold
    |   +-- MissingExtraError     a command whose optional dependencies are not installed
    |   +-- TickFileError         a tick file that cannot be read as ticks
    |   +-- ProviderError         the asked-for execution provider is not to be had
    +-- BrokerError           the Kafka cluster refused or stayed silent
    |   +-- RefusedError          the cluster's last word: authorisation, fencing, an unknown version
    |   +-- DeliveryError         a record was finally not delivered: the process must end without commit
    |   +-- TransactionAbortedError  the open transaction must be aborted; its records may go again in another one
    |   +-- FencedError           another process has this one's name: this one must end
    |   +-- OwnershipLostError    the group gave this member's partitions away
    |   +-- OffsetOutOfRangeError the topic no longer holds the record that comes next
    +-- RegistryError         the schema registry refused or stayed silent
    +-- StalledError          a partition is not read any more, and nothing says why: start again
    +-- BadRecord             one input record is bad by itself; it goes to the dead-letter topic
        +-- EmptyRecord  OversizeRecord  UndecodableRecord  InvalidRecord  NonFiniteRecord  NonFiniteForecast
        +-- UnknownSchema  OneSidedBook  CrossedBook  HaltedMarket

`retriable` says whether trying the same thing again may help; `reason` is the dead-letter and metric label.
"""

from typing import ClassVar


class TickcastError(Exception):
    """Anything that tickcast itself has to say about what went wrong."""

    retriable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1


class UsageError(TickcastError):
    """The operator's input is wrong; a supervisor must not restart (EX_CONFIG, sysexits.h)."""

    exit_status = 78


class ConfigurationError(UsageError):
    """A configuration does not hold; the message lists every problem at once."""


class BundleError(UsageError):
    """A bundle does not hold: hash, schema, graph or golden windows."""


class MissingExtraError(UsageError):
    """An optional dependency is missing; the message says what to install."""


class TickFileError(UsageError):
    """A tick file cannot be read; the message names the file, the line and the column."""


class ProviderError(UsageError):
    """The configured execution provider cannot be had on this machine; the message says why."""


class BrokerError(TickcastError):
    """The Kafka cluster refused a request or did not answer in time."""

    retriable = True


class RefusedError(BrokerError):
    """The cluster refused for a reason that trying again does not change: authorisation, fencing, a bad request."""

    retriable = False


class DeliveryError(BrokerError):
    """A record was finally not delivered; nothing after the last commit may be committed."""

    retriable = False


class TransactionAbortedError(BrokerError):
    """The open transaction cannot be committed; aborted, its records may be sent again in another one."""


class FencedError(BrokerError):
    """Another process produces under this one's name; nothing this one does counts any more."""

    retriable = False


class OwnershipLostError(BrokerError):
    """Partitions were given to another member; their windows are dropped and nothing is committed."""

    retriable = False


class OffsetOutOfRangeError(BrokerError):
    """Retention deleted records before they were processed; the message names the partition and what it still holds."""

    retriable = False


class RegistryError(TickcastError):
    """The schema registry refused a request, did not answer in time, or answered what no registry would."""

    retriable = True


class StalledError(TickcastError):
    """A partition has more to read and is not read; the process ends for its supervisor to start it again."""


class BadRecord(TickcastError):  # noqa: N818 - named as the design page names it
    """One input record is bad by itself. `str(error)` is the detail for the dead letter's header."""

    reason: ClassVar[str] = "bad"


class EmptyRecord(BadRecord):
    """No value: a tombstone, or zero bytes."""

    reason = "empty"


class OversizeRecord(BadRecord):
    """Longer than `input.record_bytes_max`."""

    reason = "oversize"


class UndecodableRecord(BadRecord):
    """Not the configured format at all."""

    reason = "undecodable"


class InvalidRecord(BadRecord):
    """Decodable, but a field is missing or of the wrong type."""

    reason = "invalid"


class NonFiniteRecord(BadRecord):
    """A numeric column is NaN or infinite."""

    reason = "non_finite"


class UnknownSchema(BadRecord):
    """The registry knows no schema of the number that the record names."""

    reason = "unknown_schema"


class OneSidedBook(BadRecord):
    """A side of the book is missing, and `input.one_sided` calls that bad."""

    reason = "one_sided"


class CrossedBook(BadRecord):
    """The bid is above the ask, and `input.crossed` calls that bad."""

    reason = "crossed"


class HaltedMarket(BadRecord):
    """The market is halted, and `input.halted` calls that bad."""

    reason = "halted"


class NonFiniteForecast(BadRecord):
    """The model answered this tick with NaN or infinity."""

    reason = "non_finite_forecast"


BAD_RECORD_REASONS = tuple(sorted(error.reason for error in BadRecord.__subclasses__()))
