"""Reading arrays of voxels from files, with a check of everything that could be wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from occ_core.taxonomy import IGNORE


def load_array(path: Path | str, remedy: str) -> np.ndarray:
    """The array of a ``.npy`` file.

    Args:
        path: the file.
        remedy: what to do if the file is missing, for the error's text.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no ``.npy`` file, or is truncated, or holds something other than numbers.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; {remedy}") from None
    except Exception as error:  # numpy raises a dozen kinds for what is not its own
        raise ValueError(f"{path} is not a .npy file ({error}); extract it again") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise ValueError(f"{path} must hold one array of numbers; extract it again")
    return values


def load_arrays(path: Path | str, names: Sequence[str], remedy: str) -> list[np.ndarray]:
    """The named arrays of a ``.npz`` file.

    Args:
        path: the file.
        names: the arrays that it must hold.
        remedy: what to do if the file is missing, for the error's text.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no ``.npz`` file, is truncated, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = sorted(set(names) - set(archive.files))
            if not missing:
                return [archive[name] for name in names]
            held = sorted(archive.files)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; {remedy}") from None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damage
        raise ValueError(f"{path} is not a .npz file ({error}); extract it again") from error
    raise ValueError(f"{path} lacks {missing}; it holds {held}")


def load_values(path: Path | str, dtype: type[np.generic], count: int, remedy: str) -> np.ndarray:
    """The values of a file without a header, ``[count]``.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has another size.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy}")
    size, expected = path.stat().st_size, count * np.dtype(dtype).itemsize
    if size != expected:
        raise ValueError(
            f"{path} holds {size} bytes, expected {expected} ({count} values of "
            f"{np.dtype(dtype).name}); it is truncated or of another kind: extract it again"
        )
    return np.fromfile(path, dtype=dtype)


def load_bits(path: Path | str, shape: tuple[int, int, int], remedy: str) -> np.ndarray:
    """One bit per voxel, bool ``[X, Y, Z]``, from a file of packed bits, the highest bit first.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has another size.
    """
    cells = shape[0] * shape[1] * shape[2]
    packed = load_values(path, np.uint8, (cells + 7) // 8, remedy)
    return np.unpackbits(packed, count=cells).reshape(shape).view(bool)


def whole_numbers(
    path: Path | str,
    values: np.ndarray,
    what: str,
    dtype: type[np.int32] | type[np.uint8] = np.int32,
) -> np.ndarray:
    """The values as they are if their type is one of whole numbers, otherwise as ``dtype``.

    Raises:
        ValueError: one of them is not a whole number, or beyond the range of ``dtype``.
    """
    if values.dtype.kind != "f":
        return values
    with np.errstate(invalid="ignore"):
        whole = values.astype(dtype)  # beyond its range and for NaN, another number
    wrong = whole != values
    if wrong.any():
        raise ValueError(
            f"{path}: {what} must be whole numbers below {np.iinfo(dtype).max + 1}, got "
            f"{values[wrong].flat[0]}"
        )
    return whole


def check_ids(path: Path | str, ids: np.ndarray, classes: int, extra: Sequence[int] = ()) -> None:
    """Checks class ids of a file: 0 to ``classes - 1``, or one of ``extra``.

    Raises:
        ValueError: the file holds another id.
    """
    if not ids.size or (ids.min() >= 0 and ids.max() < classes):
        return
    wrong = (ids < 0) | (ids >= classes)
    for each in extra:
        wrong &= ids != each
    unknown = np.unique(ids[wrong]).tolist()
    if unknown:
        also = "".join(f" or {each}" for each in extra)
        raise ValueError(
            f"{path} has the labels {unknown[:5]}, expected 0 to {classes - 1}{also}; it was made "
            "with other classes, or is damaged"
        )


def dense_labels(
    path: Path | str, index: np.ndarray, ids: np.ndarray, shape: tuple[int, int, int], order: str
) -> np.ndarray:
    """Labels of all voxels, uint8 ``[X, Y, Z]``, from a list of the occupied ones.

    Voxels that are not listed are 0, empty; those listed with 0, noise, are 255.

    Args:
        path: the file that lists them, for the error's text.
        index: whole numbers ``[N, 3]``, columns x, y, z.
        ids: likewise ``[N]``, 0 for noise.
        shape: ``(X, Y, Z)``.
        order: how the file orders its columns, for the error's text.

    Raises:
        ValueError: an index lies outside the grid.
    """
    if len(index) and (index.min() < 0 or (index.max(axis=0) >= shape).any()):
        reverse = index[:, ::-1]
        fits = reverse.min() >= 0 and (reverse.max(axis=0) < shape).all()
        hint = "its columns lie in the reverse order" if fits else "it was made for another grid"
        raise ValueError(
            f"{path} has voxel indices ({order}) that reach from {index.min(axis=0).tolist()} to "
            f"{index.max(axis=0).tolist()} along x, y, z, outside the grid of shape "
            f"{list(shape)}; {hint}"
        )
    labels = np.zeros(shape, dtype=np.uint8)
    flat = np.ravel_multi_index(tuple(index.astype(np.int64, copy=False).T), shape)
    labels.ravel()[flat] = np.where(ids == 0, IGNORE, ids)
    return labels
