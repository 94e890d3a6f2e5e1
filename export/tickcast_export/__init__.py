"""Research's side of tickcast: features, model families, training, and export to certified ONNX bundles.

Needs the extra `export` (tensorflow, tf2onnx, onnx). The daemon never imports this package.
"""

import os

# TensorFlow reads it once, when it is first imported: without it, pages of notes for its own developers.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
