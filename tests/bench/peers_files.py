"""The sizes of the comparison's one network, and the names of the files that `peers_model` makes of it."""

WINDOW = 64
HORIZONS = 10
FEATURES = 8
CERTIFIED, SAME_FEATURES, PLAIN, CORE = "certified", "same-features", "plain", "core.keras"
PLAIN_GRAPH = f"{PLAIN}/window.onnx"
