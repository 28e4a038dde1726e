"""ONNX Runtime collects no usage data: it creates no identifier and opens no database."""

import os
import subprocess
import sys
from pathlib import Path

from tests.services.processes import PROJECT

LOAD_A_MODEL = """
from pathlib import Path
from models_registry.onnx_session import load_session
load_session(Path("demo/classifier-1.0.0.onnx"))
targets = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
print([target for target in targets if "onnxruntime" in target])
"""


def run(folder: Path) -> str:
    """Load a model in a process with the home `folder`, without the variables of CI that silence ONNX Runtime."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "ORT_", "PYTEST"))}
    environment = kept | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-c", LOAD_A_MODEL]
    result = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_loading_a_model_creates_no_files(tmp_path: Path) -> None:
    assert run(tmp_path) == "[]"
    assert list(tmp_path.iterdir()) == []
