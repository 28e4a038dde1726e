"""Uploaded model files: one ONNX file, one with its data files, or a zip archive of them, copied to a folder."""

import hashlib
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.core.files.base import File

from models_registry.exceptions import ArtefactError, LargeArtefactError

MOST_FILES = 100  # of one model
LONGEST_FILE_NAME = 255
_CHUNK = 1 << 20
_END_RECORD_BYTES = 22 + 65_535  # with the longest comment
_MOST_DIRECTORY_BYTES = 1 << 20
_PYTHON_ERRORS = (RuntimeError, NotImplementedError, OSError, ValueError)  # of zipfile, for damaged archives
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # so that the same files make the same archive


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model in a folder.

    Attributes
    ----------
    kept
        What is stored of the upload: the file itself, or an archive of several; with its suffix.
    model
        The ONNX file.
    data_files
        The other files by the name that the model can use.
    """

    kept: Path
    model: Path
    data_files: dict[str, Path]

    def sha256(self) -> str:
        """Return the digest of what is stored."""
        with self.kept.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def copy_files(files: Sequence[File[bytes]], folder: Path, *, size_bytes: int) -> ModelFiles:
    """Copy uploaded files to `folder` and unpack an archive.

    Parameters
    ----------
    files
        One ONNX file or zip archive; or an ONNX file, whose name ends in .onnx, and its data files.
    folder
        An empty folder.
    size_bytes
        Limit of all files together, unpacked.

    Raises
    ------
    ArtefactError
        There is not exactly one ONNX file, or the files are too large.
    """
    if not files:
        raise ArtefactError("No file was uploaded.")
    if len(files) == 1:
        kept = folder / "upload.onnx"
        _copy(files[0], kept, size_bytes)
        with kept.open("rb") as content:
            if content.read(2) != b"PK":
                return ModelFiles(kept, kept, {})
        archive = kept.rename(folder / "upload.zip")
        return _model_of(archive, _unpacked(archive, folder, size_bytes))
    if len(files) > MOST_FILES:
        raise ArtefactError(f"{len(files)} files were uploaded; at most {MOST_FILES} are supported.")
    parts: dict[str, Path] = {}
    for position, file in enumerate(files):
        name = PurePosixPath(str(file.name or "").replace("\\", "/")).name
        if name in ("", "..") or len(name) > LONGEST_FILE_NAME or not name.isprintable():
            raise ArtefactError(
                f"The file name {name[:40]!r} is not allowed: use 1 to {LONGEST_FILE_NAME} printable characters."
            )
        if name in parts:
            raise ArtefactError(f"Two files are named {name!r}. Upload each file once.")
        parts[name] = folder / f"part{position}"
        size_bytes -= _copy(file, parts[name], size_bytes)
    archive = folder / "upload.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in sorted(parts):
            with packed.open(zipfile.ZipInfo(name, _FIXED_DATE), "w") as target, parts[name].open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
    return _model_of(archive, parts)


def _copy(file: File[bytes], path: Path, size_bytes: int) -> int:
    """Copy a file; return its size."""
    file.seek(0)
    copied = 0
    with path.open("wb") as target:
        while chunk := file.read(_CHUNK):
            copied += len(chunk)
            if copied > size_bytes:
                raise _too_large(size_bytes)
            target.write(chunk)
    return copied


def _unpacked(archive: Path, folder: Path, size_bytes: int) -> dict[str, Path]:
    """Unpack the files of an archive under numbers, not under its names; return them by name."""
    parts: dict[str, Path] = {}
    left = size_bytes
    try:
        _refuse_large_directory(archive)
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES:
                raise ArtefactError(f"The archive has {len(members):,} files; at most {MOST_FILES} are supported.")
            for position, member in enumerate(members):
                name = member.filename.replace("\\", "/")  # as some programs write on Windows
                if name in parts:
                    raise ArtefactError(f"The archive has two files named {name[:255]!r}.")
                path = parts[name] = folder / f"part{position}"
                with packed.open(member) as source, path.open("wb") as target:
                    while chunk := source.read(_CHUNK):
                        left -= len(chunk)
                        if left < 0:  # the sizes that an archive states may be false
                            raise _too_large(size_bytes)
                        target.write(chunk)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, *_PYTHON_ERRORS) as error:
        raise ArtefactError(
            f"The zip archive cannot be read: {error}. Pack it again without a password, with the usual compression."
        ) from None
    return parts


def _refuse_large_directory(archive: Path) -> None:
    """Refuse an archive whose directory would take much memory, by its end record, before it is read."""
    with archive.open("rb") as content:
        content.seek(max(0, archive.stat().st_size - _END_RECORD_BYTES))
        end = content.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 16:
        raise zipfile.BadZipFile("it is no archive, or was cut off")
    (directory_bytes,) = struct.unpack_from("<L", end, place + 12)
    if directory_bytes > _MOST_DIRECTORY_BYTES:
        raise ArtefactError(f"The archive has too many files; at most {MOST_FILES} are supported.")


def _model_of(archive: Path, parts: dict[str, Path]) -> ModelFiles:
    """Return the only ONNX file of several, and the others by their name relative to it."""
    models = [name for name in parts if name.lower().endswith(".onnx") and not _is_hidden(name)]
    if not models:
        named = ", ".join(sorted(parts)[:5]) or "none"
        raise ArtefactError(
            f"None of the files ends in .onnx ({named}). A zip archive must hold an ONNX file and its data files; "
            "PyTorch's .pt and Keras' .keras are archives too, but not ONNX: export the model with torch.onnx.export "
            "or tf2onnx."
        )
    if len(models) > 1:
        raise ArtefactError(f"Several files end in .onnx ({', '.join(sorted(models)[:5])}). Upload one model.")
    (model,) = models
    folder = PurePosixPath(model).parent
    data_files = {
        str(PurePosixPath(name).relative_to(folder)): path
        for name, path in parts.items()
        if name != model and PurePosixPath(name).is_relative_to(folder)
    }
    return ModelFiles(archive, parts[model], data_files)


def _is_hidden(name: str) -> bool:
    """Return whether a file belongs to an operating system (macOS packs ``__MACOSX/._model.onnx``)."""
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts


def _too_large(size_bytes: int) -> LargeArtefactError:
    return LargeArtefactError(
        f"The model's files are too large; the limit is {size_bytes / (1 << 20):,.1f} MiB. Use a smaller model (fewer "
        "or shallower trees, float32 weights)."
    )
