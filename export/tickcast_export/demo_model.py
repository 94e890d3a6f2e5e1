"""The demo's model: trained by `tickcast train`, certified by `tickcast export`, each in a process of its own.

Before the way of a tick. A process each keeps TensorFlow, its memory and its noise away from what is measured later.
"""

from tickcast import bundle
from tickcast.bundle import Bundle

from tickcast_export import demo_processes as processes
from tickcast_export.demo_settings import NAME, Settings, Story


def train(settings: Settings) -> None:
    """`train.csv` -> `model.keras`; progress is shown as it comes. Raises TickcastError."""
    options = {
        "ticks": settings.file("train.csv"),
        "out": settings.file("model.keras"),
        "name": NAME,
        "family": settings.family,
        "window": settings.window,
        "sampling": "all",  # each tick that is played is to be answered
        "units": settings.units,
        "second-units": settings.units,
        "attention-units": settings.units,
        "time-budget-s": settings.train_s,
        "seed": settings.seed,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with processes.start(["train", *arguments], settings.file("train.log")) as child:
        child.wait()


def export(settings: Settings, story: Story) -> Bundle:
    """`model.keras` -> `bundle`; says what it was certified with. Raises TickcastError."""
    arguments = [str(settings.file("model.keras")), "--out", str(settings.file("bundle")), "--force"]
    with processes.start(["export", *arguments], settings.file("export.log"), settings.file("export.out")) as child:
        child.wait()
    certified = bundle.load(settings.file("bundle"))
    for line in certificate_lines(certified):
        story.say(line)
    return certified


def certificate_lines(certified: Bundle) -> list[str]:
    """One line for people per path through the graphs."""
    certificate = certified.manifest.certificate
    about = f"tolerance {certificate.tolerance:.0e}, {certificate.cases} golden windows against {certificate.reference}"
    return [f"{path.path} path: largest error {path.error_max:.1e} ({about})" for path in certificate.graphs]
