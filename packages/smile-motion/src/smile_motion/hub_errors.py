"""What the Hugging Face hub's client raises, in a line with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from smile_motion.errors import InputError


@contextmanager
def hub_errors_explained(
    repo_id: str, *, revision: str | None = None, writing: bool = False
) -> Iterator[None]:
    """Turn what the hub's client raises inside into an InputError of one line.

    repo_id   the repository that is read, or with `writing` written; revision  of it.
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
        raise InputError("HF_HUB_OFFLINE is set; unset it to reach the hub") from error
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
