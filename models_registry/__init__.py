"""Models, their versions, schemas, reference data and the traffic between versions."""

import os

# ONNX Runtime sends usage data to its maker from version 1.29 on unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
