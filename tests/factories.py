"""Small valid objects for tests; each names only what the test is about."""

from typing import Any

from tickcast.manifest import Manifest, WindowRules

SHA256 = "0" * 64


def manifest_with(**changes: Any) -> Manifest:
    """A manifest that holds, with `changes`."""
    columns = changes.get("columns", ("bid", "ask"))
    window = changes.get("rules", WindowRules(window=4)).window
    features = changes.get("features", len(columns))
    tensor = {"dtype": "float32"}
    fields: dict[str, Any] = {
        "name": "test",
        "version": "1",
        "family": "foreign",
        "columns": columns,
        "reference_columns": (),
        "features": features,
        "feature_names": tuple(f"feature_{index}" for index in range(features)),
        "rules": WindowRules(window=window),
        "horizons": (1, 2),
        "target": "mid_change",
        "unit": "price",
        "target_scale": 1.0,
        "graphs": {
            "window": {
                "file": "window.onnx",
                "sha256": SHA256,
                "inputs": [{"name": "rows", "shape": ("batch", window, features), **tensor}],
                "outputs": [{"name": "forecast", "shape": ("batch", 2), **tensor}],
            }
        },
        "opset": 17,
        "tools": {},
        "certificate": {
            "reference": "keras",
            "cases": 1,
            "case_kinds": {"real": 1},
            "tolerance": 1e-5,
            "graphs": [{"path": "window", "error_max": 0.0, "error_p99": 0.0}],
        },
        "golden_sha256": SHA256,
    }
    return Manifest.model_validate({**fields, **changes})
