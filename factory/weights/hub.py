"""Hugging Face's hub: single files of a model, what its cache on this disk holds, and why it gives nothing."""

from __future__ import annotations

from pathlib import Path

from factory.errors import UserError, first_line

MARKS = ("model_index.json", "config.json", "pytorch_lora_weights.safetensors")  # files of which a model has one
PATIENCE = 10  # s that the hub has to answer


def fetched(model: str, names: tuple[str, ...], label: str, revision: str | None = None) -> Path:
    """The first of the named files that the hub or its cache has of a hub id, on this disk. UserError, which begins
    with `label`, and says why there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    why = f"it holds none of {', '.join(names)}"
    for name in names:
        try:
            return Path(hf_hub_download(model, name, revision=revision))
        except Exception as error:  # offline, gated, absent: the hub has exceptions for each
            absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            why = why if absent else unreachable(error)
    raise UserError(f"{label}: neither here nor on the hub ({why})")


def in_cache(model: str, revision: str | None = None) -> Path | None:
    """The folder of the hub's cache that holds a hub id; None where none does. Asks no server."""
    from huggingface_hub import try_to_load_from_cache

    for name in MARKS:
        if isinstance(path := try_to_load_from_cache(model, name, revision=revision), str):
            return Path(path).parent
    return None


def offline() -> bool:
    """Whether the user forbids to ask the hub."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def refusal(model: str, revision: str | None = None) -> str | None:
    """Why the hub does not give a hub id, as a sentence that begins with it; None where it does. Asks the hub."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        HfApi().model_info(model, revision=revision, timeout=PATIENCE)
    except GatedRepoError:
        return f"{model} is gated: accept its licence on the hub, then log in with `hf auth login`"
    except RevisionNotFoundError:
        return f"{model} has no revision {revision} on the hub"
    except HfHubHTTPError as error:
        missing = error.response is not None and error.response.status_code in (401, 404)
        says = "neither a folder here nor a model on the hub" if missing else "the hub does not answer"
        return f"{model}: {says}"
    except Exception as error:  # offline: each transport has exceptions of its own
        return f"{model}: no such folder, and {unreachable(error)}"
    return None


def unreachable(error: Exception) -> str:
    """Why the hub did not give a file, as the end of a sentence."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if offline() or isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and the hub's cache does not hold it: unset it, or give a folder"
    transport = type(error).__module__.startswith("http")  # httpx and those like it
    if transport or isinstance(error, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        return "the hub is out of reach and its cache does not hold it: go online once, or give a folder"
    return first_line(error)
