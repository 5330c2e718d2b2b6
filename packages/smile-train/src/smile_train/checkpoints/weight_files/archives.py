"""Files that `torch.save` and `torch.jit.save` write: a pickle, and the bytes of its tensors.

Tensors are read one by one when they are asked for, so that an optimizer's state, which is twice as
large as the weights, costs nothing.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from smile_motion.errors import InputError, in_one_line

from smile_train.checkpoints.weight_files.pickles import (
    Description,
    PickleError,
    Storage,
    StoredTensor,
    read_pickle,
)

LARGEST_PICKLE = 256 << 20
"""Bytes; that of ViT-g with its optimizer has one or two million."""
_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file before PyTorch 1.6."""
_PROTOCOL = 1001
_LOCAL_HEADER = b"PK\x03\x04"
_LOCAL_HEADER_SIZE = 30


@dataclass(eq=False)
class TorchFile:
    """A file that `torch.save` wrote, opened."""

    path: Path
    """The file."""
    described: Description
    """What its pickle would make."""
    places: dict[str, tuple[int, int, int | None]] = field(repr=False)
    """Of each storage, by key: offset, number of bytes, and their CRC-32 where it is known."""
    size: int
    """Bytes of the file."""

    def tensors(self, stored: dict[str, StoredTensor]) -> dict[str, torch.Tensor]:
        """Read tensors. Those that share bytes in the file share them in memory.

        Raises:
            InputError: The file is damaged, or together they are larger than it.
        """
        if (total := sum(tensor.nbytes for tensor in stored.values())) > 2 * self.size:
            raise InputError(
                f"{self.path}: describes {total} bytes of weights in a file of {self.size}; it was "
                f"made to fill the memory, do not use it"
            )
        read: dict[str, torch.Tensor] = {}
        found = {}
        with self.path.open("rb") as file:
            for name, tensor in stored.items():
                key = tensor.storage.key
                if key not in read:
                    read[key] = self._bytes(file, tensor.storage)
                found[name] = _view(read[key], tensor)
        return found

    def _bytes(self, file: BinaryIO, storage: Storage) -> torch.Tensor:
        if storage.key not in self.places:
            raise _damaged(self.path, f"no bytes of storage {storage.key[:20]!r}")
        start, count, checksum = self.places[storage.key]
        if (storage.first + storage.count) * storage.dtype.itemsize > count:
            raise _damaged(self.path, f"storage {storage.key[:20]!r} is shorter than it should be")
        if not count:
            return torch.empty(0, dtype=torch.uint8)
        data = bytearray(count)
        file.seek(start)
        if file.readinto(data) != count:  # type: ignore
            raise _damaged(self.path, "it ends early")
        if checksum is not None and zlib.crc32(data) != checksum:
            raise _damaged(self.path, f"the checksum of storage {storage.key[:20]!r} differs")
        return torch.frombuffer(data, dtype=torch.uint8)


def _view(data: torch.Tensor, tensor: StoredTensor) -> torch.Tensor:
    storage = tensor.storage
    if 0 in tensor.shape:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    width = storage.dtype.itemsize
    first = storage.first * width
    own = data[
        first : first + storage.count * width // tensor.dtype.itemsize * tensor.dtype.itemsize
    ]
    return own.view(tensor.dtype).as_strided(tensor.shape, tensor.stride, tensor.offset)


def open_archive(path: Path) -> TorchFile:
    """Open a file of PyTorch 1.6 and later, or a TorchScript archive: both are zip files.

    Raises:
        InputError: It is damaged or another zip file.
    """
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = {entry.filename: entry for entry in archive.infolist()}
            root = next((name[:-8] for name in entries if _is_pickle(name)), None)
            if root is None:
                raise InputError(
                    f"{path}: a zip file that torch.save did not write (no data.pkl in it); give "
                    f"the file of weights itself, unpacked"
                )
            order = entries.get(f"{root}byteorder")
            if order is not None and order.file_size < 9 and archive.read(order) == b"big":
                raise InputError(f"{path}: of a big-endian machine; save it again on another")
            places = {
                name.removeprefix(f"{root}data/"): _place(file, path, entry, size)
                for name, entry in entries.items()
                if name.startswith((f"{root}data/", f"{root}data.pkl"))
            }
            if entries[f"{root}data.pkl"].file_size > min(LARGEST_PICKLE, size):
                raise InputError(
                    f"{path}: its data.pkl is larger than any checkpoint's; it was made to fill "
                    f"the memory, do not use it"
                )
            with archive.open(f"{root}data.pkl") as stream:
                described = read_pickle(stream)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, EOFError, zlib.error, struct.error, OSError) as error:
        # One without a name is of a seek to where nothing can be.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise _damaged(path, in_one_line(error) or type(error).__name__) from error
    except PickleError as error:
        raise InputError(f"{path}: cannot be read safely: {error}") from error
    except (
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:  # packed otherwise, or encrypted
        raise InputError(
            f"{path}: a zip file that torch.save did not write ({in_one_line(error)}); give the "
            f"file of weights as it was saved"
        ) from error
    return TorchFile(path, described, places, size)


def _is_pickle(name: str) -> bool:
    return name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)


def _place(
    file: BinaryIO, path: Path, entry: zipfile.ZipInfo, size: int
) -> tuple[int, int, int | None]:
    """Where the bytes of an entry lie."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise InputError(
            f"{path}: its tensors are compressed, which torch.save never does; unpack it, and save "
            f"the weights again"
        )
    if entry.header_offset < 0:  # The list at the end is larger than what is before it.
        raise _damaged(path, "it begins late")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER_SIZE)
    if len(header) < _LOCAL_HEADER_SIZE or not header.startswith(_LOCAL_HEADER):
        raise _damaged(path, f"no entry {entry.filename[:40]!r} where one should be")
    name, extra = struct.unpack("<HH", header[26:])
    start = entry.header_offset + _LOCAL_HEADER_SIZE + name + extra
    if start + entry.file_size > size:
        raise _damaged(path, "it ends early")
    return start, entry.file_size, entry.CRC


def open_legacy(path: Path) -> TorchFile:
    """Open a file of PyTorch before 1.6: pickles, then the bytes, one after the other.

    Raises:
        InputError: It is damaged or another pickle.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        stream: Any = _Bounded(file, size)
        try:
            if read_pickle(stream).content != _MAGIC or read_pickle(stream).content != _PROTOCOL:
                raise InputError(
                    f"{path}: a pickle that torch.save did not write; give the file of weights, or "
                    f"save its tensors with torch.save or as .safetensors"
                )
            read_pickle(stream)  # Of the machine that wrote it.
            described = read_pickle(stream)
            keys = read_pickle(stream).content
        except PickleError as error:
            if file.tell() >= size:
                raise _damaged(path, "it ends early") from error
            raise InputError(f"{path}: cannot be read safely: {error}") from error
        widths = {s.key: s.dtype.itemsize for s in described.storages}
        places: dict[str, tuple[int, int, int | None]] = {}
        for key in keys if isinstance(keys, list) else ():
            header = file.read(8)
            if len(header) < 8:
                raise _damaged(path, "it ends early")
            if not isinstance(key, str) or key not in widths:
                raise InputError(f"{path}: storage {key!r:.40} is of no tensor that can be read")
            (count,) = struct.unpack("<q", header)
            start = file.tell()
            length = count * widths[key]
            if count < 0 or start + length > size:
                raise _damaged(path, "it ends early")
            places[key] = start, length, None
            file.seek(start + length)
    return TorchFile(path, described, places, size)


class _Bounded:
    """A file that is not asked for more than it has, so that nothing is set aside for it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        return self.file.read(min(count, self.size))

    def readline(self) -> bytes:
        return self.file.readline(1 << 20)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged ({reason}); download it again")
