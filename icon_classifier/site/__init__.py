"""The page as static files: the ONNX model runs in the visitor's browser."""
