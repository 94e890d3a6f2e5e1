"""The bundle of the crash tests' daemons. `chaos.model FOLDER SEED`: TensorFlow's memory goes with the process."""

import os
import subprocess
import sys
from pathlib import Path

FAMILY = "additive"
WINDOW = 64
GAP_MAX_S = 30.0


def make(folder: Path, seed: int = 1) -> Path:
    """The bundle, made in `folder` by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos.model", str(folder), str(seed)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the model cannot be made:\n{done.stderr}")
    return folder / FAMILY


def main(folder: Path, seed: int) -> None:
    """Write it."""
    from exported import export
    from tickcast.manifest import WindowRules

    export(FAMILY, folder, WindowRules(window=WINDOW, max_gap_s=GAP_MAX_S), seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
