"""Uploaded model files: an ONNX file, alone or with its data files, or an MLflow model; or a zip archive of them."""

import hashlib
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.core.files.base import File

from mlmon.values import shown
from models_registry.exceptions import ArtefactError, LargeArtefactError
from models_registry.mlflow_folders.mlmodel import MLMODEL, MlflowModel, mlmodel_among, read_mlmodel

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
    mlflow
        What ``MLmodel`` says, if it was uploaded.
    example
        The input example of an MLflow model, if it has one.
    """

    kept: Path
    model: Path
    data_files: dict[str, Path]
    mlflow: MlflowModel | None = None
    example: Path | None = None

    def sha256(self) -> str:
        """Return the digest of what is stored."""
        with self.kept.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


def copy_files(files: Sequence[File[bytes]], folder: Path, *, size_bytes: int) -> ModelFiles:
    """Copy uploaded files to `folder` and unpack an archive.

    Parameters
    ----------
    files
        One ONNX file or zip archive; or an ONNX file, whose name ends in .onnx, and its data files; or the files of an
        MLflow model, which its ``MLmodel`` names.
    folder
        An empty folder.
    size_bytes
        Limit of all files together, unpacked.

    Raises
    ------
    ArtefactError
        There is not exactly one ONNX file, the files are too large, or ``MLmodel`` cannot be used.
    """
    if not files:
        raise ArtefactError("No file was uploaded.")
    names = [PurePosixPath(str(file.name or "").replace("\\", "/")).name for file in files]
    if len(files) == 1 and names != [MLMODEL]:
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
    # MLmodel first, so that a model of another flavour is refused before it is copied.
    for position, (name, file) in enumerate(
        sorted(zip(names, files, strict=True), key=lambda each: each[0] != MLMODEL)
    ):
        if name in ("", "..") or len(name) > LONGEST_FILE_NAME or not name.isprintable():
            raise ArtefactError(
                f"The file name {name[:40]!r} is not allowed: use 1 to {LONGEST_FILE_NAME} printable characters."
            )
        if name in parts:
            raise ArtefactError(f"Two files are named {name!r}. Upload each file once.")
        parts[name] = folder / f"part{position}"
        size_bytes -= _copy(file, parts[name], size_bytes)
        if name == MLMODEL:
            read_mlmodel(parts[name])
    archive = folder / "upload.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in sorted(parts):
            with packed.open(zipfile.ZipInfo(name, _FIXED_DATE), "w") as target, parts[name].open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
    return _model_of(archive, parts)


def files_of_folder(path: Path) -> list[Path] | None:
    """Return the files of the MLflow model that a path belongs to, or None if it belongs to none.

    Parameters
    ----------
    path
        The model's folder, its ``MLmodel``, or the ONNX file beside it. Folders below (Python code, copies of
        ``MLmodel``) and hidden files are left out.

    Raises
    ------
    ArtefactError
        The folder has no ``MLmodel``, or too many files; a file is a symbolic link; or ``MLmodel`` is for another ONNX
        file.
    """
    is_onnx = path.suffix.lower() == ".onnx" and path.is_file()
    if path.is_dir():
        folder = path
        if not (path / MLMODEL).is_file():
            below = sorted(str(each.parent) for each in path.glob(f"*/{MLMODEL}"))[:5]
            advice = f"Name a folder in it: {', '.join(below)}." if below else "Name the ONNX file and its data files."
            raise ArtefactError(f"The folder {path} is not an MLflow model, because it has no file {MLMODEL}. {advice}")
    elif (path.name == MLMODEL and path.is_file()) or (is_onnx and (path.parent / MLMODEL).is_file()):
        folder = path.parent
    else:
        return None
    files = sorted(each for each in folder.iterdir() if not each.is_dir() and not each.name.startswith("."))
    if len(files) > MOST_FILES:
        raise ArtefactError(f"The folder {folder} has {len(files):,} files; at most {MOST_FILES} are supported.")
    for each in files:
        if each.is_symlink():
            raise ArtefactError(
                f"{each} is a symbolic link, which is not followed. Copy the folder with its files (cp -rL), and name "
                "the copy."
            )
        if not each.is_file():
            raise ArtefactError(f"{each} is not a file.")
    if is_onnx and (described := read_mlmodel(folder / MLMODEL).onnx_file) != path.name:
        raise ArtefactError(
            f"{folder / MLMODEL} is for the file {shown(described)}, not {shown(path.name)}. Name the folder, or copy "
            f"{path.name} to a folder without {MLMODEL}."
        )
    return files


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
            mlmodel = mlmodel_among(member.filename for member in members)
            members.sort(key=lambda member: member.filename != mlmodel)  # as in `copy_files`
            for position, member in enumerate(members):
                name = member.filename.replace("\\", "/")  # as some programs write on Windows
                if name in parts:
                    raise ArtefactError(f"The archive has two files named {name[:255]!r}.")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise ArtefactError(
                        f"{name[:255]!r} in the archive is a symbolic link. Pack the file that it points to."
                    )
                path = parts[name] = folder / f"part{position}"
                with packed.open(member) as source, path.open("wb") as target:
                    while chunk := source.read(_CHUNK):
                        left -= len(chunk)
                        if left < 0:  # the sizes that an archive states may be false
                            raise _too_large(size_bytes)
                        target.write(chunk)
                if member.filename == mlmodel:
                    read_mlmodel(path)
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
    """Return the ONNX file, and the others by their name relative to it."""
    if mlmodel := mlmodel_among(parts):
        return _mlflow_model_of(archive, parts, mlmodel)
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
    return ModelFiles(archive, parts[model], _beside(model, parts))


def _mlflow_model_of(archive: Path, parts: dict[str, Path], mlmodel: str) -> ModelFiles:
    """Return the files that ``MLmodel`` names. The names are only looked up, never opened as paths."""
    described, beside = read_mlmodel(parts[mlmodel]), _beside(mlmodel, parts)
    if described.onnx_file not in beside:
        raise ArtefactError(
            f"{MLMODEL}, flavors.onnx.data: the file {shown(described.onnx_file)} was not uploaded. Upload all files "
            "of the MLflow model, or a zip archive of its folder."
        )
    model = beside[described.onnx_file]
    name = next(name for name, path in parts.items() if path == model)
    examples = [beside[name] for name in described.examples if name in beside]
    return ModelFiles(archive, model, _beside(name, parts), described, examples[0] if examples else None)


def _beside(name: str, parts: dict[str, Path]) -> dict[str, Path]:
    """Return the other files in the folder of a file and below, by their name relative to it."""
    folder = PurePosixPath(name).parent
    return {
        str(PurePosixPath(other).relative_to(folder)): path
        for other, path in parts.items()
        if other != name and PurePosixPath(other).is_relative_to(folder)
    }


def _is_hidden(name: str) -> bool:
    """Return whether a file belongs to an operating system (macOS packs ``__MACOSX/._model.onnx``)."""
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts


def _too_large(size_bytes: int) -> LargeArtefactError:
    return LargeArtefactError(
        f"The model's files are too large; the limit is {size_bytes / (1 << 20):,.1f} MiB. Use a smaller model (fewer "
        "or shallower trees, float32 weights)."
    )
