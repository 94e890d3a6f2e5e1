"""Research's side of tickcast: features, model families, training, and export to certified ONNX bundles.

Needs the extra `export` (tensorflow, tf2onnx, onnx). The daemon never imports this package.
"""
