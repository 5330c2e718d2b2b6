"""Access to the Hugging Face hub: fast failure, its cache when offline, one-line errors.

The hub's client retries each file for a minute, and models have many files. Here the hub is asked
once whether it answers; if not, only its cache is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError

_MODEL_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
"""Files of a model in a repository; `.bin` only if it has no other weights."""
PATIENCE_S = 6.0
"""Longest wait for a first answer, seconds."""


@contextmanager
def hub_or_cache(name: str, *, instead: str) -> Iterator[None]:
    """Let a library fetch a model from the hub in the block, or from the hub's cache if offline.

    Args:
        name: Name of the model in errors.
        instead: Alternative named in errors, such as `give --model a folder`.

    Raises:
        InputError: The hub refuses, or cannot be reached and its cache lacks a file. Other errors
            pass unchanged.
    """
    why = why_offline()
    with _cache_alone(why is not None):
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            if why is not None:
                raise InputError(
                    f"{name}: not in the hub's cache, and {why}; fetch it once on a machine with a "
                    f"network, or {instead}"
                ) from error
            with hub_errors_explained(name):
                raise


def fetch_model(name: str, *, instead: str) -> Path:
    """Return the folder of a model in the hub's cache, after downloading what is missing.

    Args:
        name: `owner/name` or `owner/name@revision`.
        instead: Alternative named in errors, such as `give --model a folder`.

    Raises:
        InputError: The hub refuses, or cannot be reached and its cache lacks a file.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    with hub_or_cache(name, instead=instead):
        for patterns in (_MODEL_FILES, [*_MODEL_FILES, "*.bin"]):
            folder = Path(
                snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
            )
            if any(folder.glob("*.safetensors")):
                break
    return folder


def why_offline() -> str | None:
    """Return why the hub cannot be reached, with a remedy if there is one; None if it answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return _said_offline()
    fault = _first_answer()
    return None if fault is None else f"{constants.ENDPOINT} cannot be reached ({fault})"


def require_online() -> None:
    """Raise InputError if the hub cannot be reached."""
    why = why_offline()
    if why is not None:
        raise InputError(
            why
            if "OFFLINE" in why
            else f"{why}; check the network, then run the same command again, and it continues"
        )


def _said_offline() -> str:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    name = next((name for name in names if os.environ.get(name)), names[0])
    return f"the hub is switched offline ({name} is set; unset it to reach the hub)"


def _first_answer() -> str | None:
    """Send one request to the hub; return what prevents an answer, None if it answers."""
    from huggingface_hub import constants, get_session

    # In a thread, since looking a name up can take longer than any timeout of a request.
    faults: list[str | None] = []

    def ask() -> None:
        try:
            answer: Any = get_session().head(constants.ENDPOINT, timeout=PATIENCE_S - 1)
        except Exception as error:  # of whichever library the hub's client uses
            faults.append(type(error).__name__)
        else:
            status = answer.status_code
            faults.append(f"answer {status}" if status in (502, 503, 504) else None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return faults[0] if faults else f"no answer in {PATIENCE_S:.0f} s"


@contextmanager
def _cache_alone(alone: bool) -> Iterator[None]:
    """Keep the hub's client off the network in the block."""
    from huggingface_hub import constants

    former = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = former or alone
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = former


@contextmanager
def hub_errors_explained(
    repo_id: str, *, revision: str | None = None, writing: bool = False
) -> Iterator[None]:
    """Turn errors of the hub's client in the block into an InputError of one line.

    Args:
        repo_id: Repository that is read or written.
        revision: Revision of the repository that is read.
        writing: Whether the repository is written.

    Raises:
        InputError: The hub refuses or cannot be reached.
    """
    from huggingface_hub import constants, errors

    login = "log in with: hf auth login, or set HF_TOKEN"
    try:
        yield
    except errors.HFValidationError as error:
        raise InputError(f"{repo_id!r}: no name of a repository; expected owner/name") from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repo_id}: its owner must let you in; ask on the hub, then {login}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{repo_id}: no revision {revision!r}; give --revision a branch, tag or commit"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{repo_id}: no such repository at {constants.ENDPOINT}, or not visible to you; check "
            f"the name, and where it is private {login}"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise InputError(_said_offline()) from error
    except errors.LocalTokenNotFoundError as error:
        raise InputError(f"no token for the hub; {login}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            right = "write to it" if writing else "read it"
            raise InputError(
                f"{repo_id}: the token may not {right} ({status}); {login} to one that may"
            ) from error
        said = error.server_message or f"answer {status}"
        raise InputError(
            f"{repo_id}: {constants.ENDPOINT} refused: {said}; try again later"
        ) from error
    except Exception as error:
        if not _is_network(error):
            raise
        raise InputError(
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}); check the network, "
            f"then run the same command again, and it continues"
        ) from error


def _is_network(error: BaseException) -> bool:
    """Whether this came of the network, whichever HTTP library the hub's client uses."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    library = type(error).__module__.partition(".")[0]
    return library.startswith(("httpx", "httpcore", "requests", "urllib3")) or isinstance(
        error, LocalEntryNotFoundError | ConnectionError | TimeoutError
    )
