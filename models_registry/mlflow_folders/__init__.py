"""MLflow model folders: what `MLmodel` says about an ONNX file. Nothing in a folder is executed."""
