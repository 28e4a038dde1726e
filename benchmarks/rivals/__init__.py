"""Servers that serve the same ONNX files as mlmon does, each in an environment of its own.

A rival's environment imports this package too, so this module needs only the standard library.
"""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Rival:
    """A server that mlmon is compared with.

    Attributes
    ----------
    name
        Its key in the results.
    title
        Its name in the printed table.
    requirements
        File of pinned requirements.
    """

    name: str
    title: str
    requirements: Path


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("fastapi", "FastAPI", _FOLDER / "fastapi.txt"),
        Rival("fastapi_lean", "lean FastAPI", _FOLDER / "fastapi.txt"),
        Rival("mlserver", "MLServer", _FOLDER / "mlserver.txt"),
    )
}
DEFAULT_RIVALS = ("fastapi", "mlserver")
