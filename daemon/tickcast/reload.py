"""Other bundles for a daemon that goes on answering: loaded and verified beside the loop, swapped between two turns.

Beside the way of a tick. All that takes time is done on a thread of its own, so that a tick waits for the swap at most;
whatever keeps a bundle from being loaded there, it is refused, and others with it: the old ones answer on.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from tickcast import heap, log, model
from tickcast.assembly import Assembly
from tickcast.board import Board
from tickcast.bundle import load as load_bundle
from tickcast.bundle_watch import BundleWatch
from tickcast.clock import Clock
from tickcast.config import Config, ModelConfig
from tickcast.errors import BrokerError, TickcastError
from tickcast.model import Model, Models
from tickcast.notify import Notifier

# Python code of the loading thread gives the interpreter lock back after so long when the loop wants it; by default
# after 5 ms, which every one of a tick's calls that let go of it could wait.
SWITCH_INTERVAL_S = 1e-4
# Until a swap that the cluster did not answer for is tried again.
RETRY_PAUSE_NS = 1_000_000_000

Result = Literal["swapped", "refused", "unchanged"]


class Loaded(NamedTuple):
    """What a reload found."""

    config: Config  # as it is in force after it
    ignored: list[str]  # settings that differ and need a restart
    models: Models | None  # None: the bundles that answer already


class Reloads:
    """At most one at a time; asked for meanwhile, another follows. Everything is called on the loop's thread."""

    def __init__(
        self,
        config: Config,
        assembly: Assembly,
        read: Callable[[], Config],
        board: Board,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        """`config` is in force; `read` reads the configuration as it is written now."""
        self.outcome = ""  # what came of the last one, in words
        self._config = config
        self._assembly = assembly
        self._read = read
        self._board = board
        self._notifier = notifier
        self._clock = clock
        self._log = log.get("reload")
        self._thread = ThreadPoolExecutor(1, "reload")
        self._watches = [BundleWatch(entry.bundle) for entry in config.models]
        self._watch_intervals_ns = [entry.watch_interval_ms * 1_000_000 for entry in config.models]
        self._watch_due_ns = [clock.monotonic_ns() + interval_ns for interval_ns in self._watch_intervals_ns]
        self._watching: Future[bool] | None = None
        self._asked = False
        self._loading: Future[Loaded] | None = None
        self._loaded: Loaded | None = None  # waits to be swapped in
        self._began_ns = self._due_ns = 0

    def ask(self) -> None:
        """Reload as soon as may be. Safe in a signal's handler."""
        self._asked = True

    def turn(self) -> None:
        """Between two turns of the loop: start what was asked for, or end what is done; otherwise next to nothing.

        Raises BrokerError where the cluster refuses for good what a swap has to ask it.
        """
        if self._loading is not None:
            if self._loading.done():
                self._take(self._loading)
        elif self._loaded is not None:
            self._swap(self._loaded)
        elif self._asked:
            self._begin()
        elif any(self._watch_intervals_ns):
            self._look()

    def close(self) -> None:
        """Nothing comes of what is being loaded any more; the process waits for it when all else is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- private

    def _look(self) -> None:
        if self._watching is not None:
            if not self._watching.done():
                return
            if self._watching.result():
                self._asked = True
            self._watching = None
            return
        now_ns = self._clock.monotonic_ns()
        watches = []
        for place, interval_ns in enumerate(self._watch_intervals_ns):
            if interval_ns and now_ns >= self._watch_due_ns[place]:
                self._watch_due_ns[place] = now_ns + interval_ns
                watches.append(self._watches[place])
        if watches:
            self._watching = self._thread.submit(_any_changed, watches)

    def _begin(self) -> None:
        self._asked = False
        self._began_ns = self._clock.monotonic_ns()
        self._notifier.reloading()
        self._log.info("reload")
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._loading = self._thread.submit(load, self._config, self._read, self._assembly.models, self._watches)

    def _take(self, loading: "Future[Loaded]") -> None:
        self._loading = None
        sys.setswitchinterval(self._switch_interval_s)
        error = loading.exception()
        if error is not None:
            # Whatever it was, the daemon is as it was before; what was not foreseen is told in full.
            self._log.error(
                "bundle refused", reason=str(error), exc_info=None if isinstance(error, TickcastError) else error
            )
            self._end("refused", f"reload refused: {error}")
            return
        self._loaded = loading.result()
        self._swap(self._loaded)

    def _swap(self, loaded: Loaded) -> None:
        begun_ns = self._clock.monotonic_ns()
        if begun_ns < self._due_ns:
            return
        windows_go_on = False
        before = self._assembly.models
        if loaded.models is not None:
            try:
                windows_go_on, retired = self._assembly.swap(loaded.models)
            except BrokerError as error:
                if not error.retriable:
                    raise
                self._due_ns = begun_ns + RETRY_PAUSE_NS
                self._log.warning("not swapped yet", error=str(error))
                return
            self._thread.submit(_free, retired)
        self._loaded = None
        self._config = loaded.config
        for key in loaded.ignored:
            self._log.warning("takes effect at the next start", setting=key)
        if loaded.models is None:
            self._log.info("bundle unchanged", sha256=", ".join(model.sha256 for model in before.each))
            self._end("unchanged", "reload: bundle unchanged")
            return
        ended_ns = self._clock.monotonic_ns()
        swapped = [new for new, old in zip(loaded.models.each, before.each, strict=True) if new is not old]
        for each in swapped:
            self._log.info(
                "bundle swapped",
                name=each.manifest.name,
                version=each.manifest.version,
                sha256=each.sha256,
                windows="went on" if windows_go_on else "are read again",
                took_s=round((ended_ns - self._began_ns) / 1e9, 3),
                held_up_ms=round((ended_ns - begun_ns) / 1e6, 3),
            )
        names = ", ".join(f"{each.manifest.name} {each.manifest.version}" for each in swapped)
        self._end("swapped", f"reload: {names} {'answers' if len(swapped) == 1 else 'answer'}")

    def _end(self, result: Result, outcome: str) -> None:
        self.outcome = outcome
        self._board.counter("tickcast_reloads_total", result=result).add()
        self._board.gauge("tickcast_last_reload_successful").set(float(result != "refused"))
        self._board.gauge("tickcast_last_reload_timestamp_seconds").set(self._clock.wall_ns() / 1e9)
        self._notifier.ready(outcome)


def load(running: Config, read: Callable[[], Config], answering: Models, watches: Sequence[BundleWatch]) -> Loaded:
    """The bundles that the configuration names now, ready to answer; those of `answering` that it still names stay.

    All or none: raises ConfigurationError, BundleError, ProviderError.
    """
    wanted = read()
    entries = _with_bundles(running.models, wanted.models)
    config = running.model_copy(update={"models": entries})
    ignored = list(_differences(_tree(config), _tree(wanted)))
    each: list[Model] = []
    for entry, watch, old in zip(entries, watches, answering.each, strict=True):
        watch.follow(entry.bundle)
        each.append(_loaded(config, entry, old))
    if all(new is old for new, old in zip(each, answering.each, strict=True)):
        return Loaded(config, ignored, None)
    return Loaded(config, ignored, model.together(config, each))


def _loaded(config: Config, entry: ModelConfig, old: Model) -> Model:
    """What the entry names now: `old` itself, or what is other about it."""
    # Not another provider under way, which `auto` would take where a GPU cannot hold two bundles at once.
    inference = config.inference.model_copy(update={"provider": old.engine.provider})
    config = config.model_copy(update={"inference": inference})
    if load_bundle(entry.bundle).sha256 != old.sha256:  # the whole of it is read: a restart would load it
        return model.load_one(config, entry)
    if entry.shadow is None or (old.shadow and load_bundle(entry.shadow).sha256 == old.shadow.bundle.sha256):
        return old
    return old._replace(shadow=model.load_shadow(config, entry.shadow, old.manifest))


def _with_bundles(running: Sequence[ModelConfig], wanted: Sequence[ModelConfig]) -> tuple[ModelConfig, ...]:
    """The entries in force with the folders of the entries written now.

    Of several, an entry is told by its symbols: with others in its place, or more or fewer entries, it stays.
    """
    is_same = len(running) == len(wanted)
    return tuple(
        old.model_copy(update=_folders(old, new))
        if is_same and (len(running) == 1 or old.symbols == new.symbols)
        else old
        for old, new in zip(running, wanted if is_same else running, strict=True)
    )


def _folders(old: ModelConfig, new: ModelConfig) -> dict[str, object]:
    """A shadow comes and goes with a restart only: its topic is looked for at the start."""
    has_one = old.shadow is not None and new.shadow is not None
    return {"bundle": new.bundle, "shadow": new.shadow if has_one else old.shadow}


def _any_changed(watches: Sequence[BundleWatch]) -> bool:
    changed = [watch.changed() for watch in watches]  # each is asked: it compares with the time before
    return any(changed)


def _free(retired: list[object]) -> None:
    retired.clear()
    heap.trim()


def _tree(config: Config) -> dict[str, Any]:
    models = {str(place): entry.model_dump(mode="json") for place, entry in enumerate(config.models)}
    tree = {**config.model_dump(mode="json"), "models": models}
    del tree["kafka"]["batch_bytes_max"]  # lowered at the start to what the topics take
    return tree


def _differences(running: Any, wanted: Any, key: str = "") -> Iterator[str]:
    """The settings, `section.setting`, in which two trees differ."""
    if isinstance(running, dict) and isinstance(wanted, dict):
        for name in sorted(running.keys() | wanted.keys()):
            yield from _differences(running.get(name), wanted.get(name), f"{key}.{name}".lstrip("."))
    elif running != wanted:
        yield key
