"""How a model is loaded: the same in the server and in an upload's trial."""

from pathlib import Path

import onnxruntime as ort

from models_registry.exceptions import ArtefactError

# The rows of one run: what an upload's trial has tried. A larger request is answered in slices.
MOST_ROWS_AT_ONCE = 512
# onnxruntime's severity numbers. It raises what it logs as an error, so only fatal lines are left.
_FATAL_ONLY = 4


def load_session(artefact: Path | bytes) -> ort.InferenceSession:
    """Return a session that computes in the calling thread alone: the server's processes are the parallelism.

    Raises
    ------
    ArtefactError
        ONNX Runtime refuses the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = artefact if isinstance(artefact, bytes) else str(artefact)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ArtefactError(f"ONNX Runtime cannot load the model: {error}") from error
