"""A data set in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

Every object is one whole PUT: it is there when the store has all of it, and a writer that is killed half-way leaves
nothing. The transport (obstore) repeats what fails for a moment; a repeated PUT brings the same bytes.
Chosen over pyarrow.fs, which cannot PUT on condition (the lock needs that) and completes an upload that was cut short.

Two runs are kept apart by PUTs on condition: the lock's (lock.py) and those of a `put` with a fence. A store that does
not know them is refused, unless FACTORY_LEASE=weak: then the lock is read, written and read again, so two runs that
begin within the same second may both take the place for some seconds, and the one write under way of a run that is
frozen for longer than the lock lasts is not held off. A user who sets it starts one run at a time.

Credentials come from the environment's usual chain alone. No message of ours holds one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from factory.errors import UserError, redacted

LARGEST_PUT = 4 * 10**9  # bytes of one PUT; the stores take about 5
CLIENT = {"connect_timeout": "10s", "timeout": "15min"}  # a PUT of the largest object at 5 MB/s ends in time
RETRY: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=15)}
CREDENTIAL_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
         "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
ENDPOINT = re.compile(r"(AWS_ENDPOINT|AZURE_(STORAGE_)?ENDPOINT)\w*", re.IGNORECASE)  # variables that hold a HTTP_URL
HTTP_URL = re.compile(r"https?://[^\s/?#]+([/?#]\S*)?", re.IGNORECASE)
LEASE = "FACTORY_LEASE"  # strict, or weak where the store knows no PUT on condition
UNCONDITIONAL = re.compile(r"501 Not Implemented|405 Method Not Allowed|<Code>NotImplemented|NotSupported")


class ObjectFiles:
    """Objects below a prefix of a bucket. Names that begin with a dot, such as .git/, belong to other programs."""

    def __init__(self, scheme: str, bucket: str, prefix: str) -> None:
        from obstore.store import from_url

        self.address = f"{scheme}://{bucket}{prefix}"
        options: dict[str, Any] = {"client_options": dict(CLIENT), "retry_config": RETRY}
        if any(url.lower().startswith("http://") for url in _endpoints()):
            options["client_options"]["allow_http"] = True
        if scheme == "s3" and not any(map(os.environ.get, CREDENTIAL_VARIABLES)):
            options |= _profile()
        self.strict = _strict()
        with self._one_line():
            self.store = from_url(self.address, **options)
            self.once = from_url(self.address, **{**options, "retry_config": {"max_retries": 0}})

    def put(self, name: str, chunks: Iterable[bytes], fence: Callable[[], None] | None = None) -> None:
        import obstore

        data = b"".join(chunks)
        if fence:
            fence()
        if len(data) > LARGEST_PUT:
            raise UserError(
                f"output: {name} has {len(data) / 1e9:.1f} GB, too much for one PUT; lower samples_per_shard"
            )
        if fence is None or not self.strict:
            if fence:
                fence()
            with self._one_line():
                obstore.put(self.store, name, data, use_multipart=False)
            return
        fence()
        tag = None  # nothing lies there, as a rule
        while self.swap(name, data, tag) is None:
            tag = self._tag(name)  # before the fence: what is written after it fails the condition
            fence()

    def _tag(self, name: str) -> str | None:
        import obstore

        with self._one_line(), suppress(FileNotFoundError):
            return obstore.head(self.store, name)["e_tag"]
        return None

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        import obstore
        from obstore.exceptions import BaseError

        if size == 0:
            return b""
        with self._one_line():
            try:
                if size > 0:
                    return bytes(obstore.get_range(self.store, name, start=start, length=size))
                if start:
                    return bytes(obstore.get(self.store, name, options={"range": {"offset": start}}).bytes())
                return bytes(obstore.get(self.store, name).bytes())
            except BaseError as error:
                if "416 " in str(error) or "InvalidRange" in str(error):  # it begins at the object's end or beyond
                    return b""
                raise

    def sizes(self) -> dict[str, int]:
        import obstore

        with self._one_line():
            sizes = {item["path"]: item["size"] for page in obstore.list(self.store) for item in page}
        return {name: size for name, size in sizes.items() if not f"/{name}".count("/.")}

    def delete(self, names: Iterable[str]) -> None:
        import obstore

        names = list(names)
        with self._one_line():
            try:
                obstore.delete(self.store, names)
            except FileNotFoundError:  # some stores refuse to delete absent ones
                for name in names:
                    with suppress(FileNotFoundError):
                        obstore.delete(self.store, name)

    def sweep(self, folders: re.Pattern[str]) -> None:
        """Nothing half-made can lie there."""

    def read_tagged(self, name: str) -> tuple[bytes, str | None]:
        """The object and its tag; b"" and None where there is none."""
        import obstore

        with self._one_line():
            try:
                result = obstore.get(self.store, name)
                return bytes(result.bytes()), result.meta["e_tag"]
            except FileNotFoundError:
                return b"", None

    def swap(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Put the object if it still has the tag (None: if there is none). Its new tag; None where it was changed."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._one_line():
            try:
                if not self.strict:
                    return self._swap_by_looking(name, data, tag)
                mode: Any = "create" if tag is None else {"e_tag": tag}
                return obstore.put(self.store, name, data, mode=mode, use_multipart=False)["e_tag"]
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                # A PUT that the transport repeats is refused when its first try came through after all.
                there, now = self.read_tagged(name)
                return now if there == data else None

    def _swap_by_looking(self, name: str, data: bytes, tag: str | None) -> str | None:
        """`swap` with a gap between looking and writing, in which another may write."""
        import obstore

        if self._tag(name) != tag:
            return None
        obstore.put(self.store, name, data, use_multipart=False)
        there, now = self.read_tagged(name)
        return now if there == data else None

    def require_conditions(self, name: str) -> None:
        """UserError where the store does not refuse to create an object that is there. The object of that name is made,
        empty, where it is absent."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        if not self.strict:
            return
        try:
            for _ in range(2):
                obstore.put(self.once, name, b"", mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return
        except (BaseError, FileNotFoundError) as error:
            if not UNCONDITIONAL.search(str(error)):
                return  # whatever it is, the next request meets it too, and repeats what may pass
        raise UserError(
            f"output: {self.address}: this store knows no PUT on condition, by which runs are kept from writing at"
            f" once; set {LEASE}=weak and start one run at a time there, or write elsewhere"
        )

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """UserError of one line for what the transport raises. A FileNotFoundError of an object passes."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise UserError(f"output: {self.address}: there is no such bucket") from None
            raise
        except BaseError as error:
            raise UserError(f"output: {self.address}: {_reason(str(error))}") from None


def _endpoints() -> list[str]:
    """The URLs in the environment at which a store is asked. UserError for what is none: the transport would panic."""
    named = {name: url.strip() for name, url in os.environ.items() if ENDPOINT.fullmatch(name) and url.strip()}
    for name, url in named.items():
        if not HTTP_URL.fullmatch(url):
            raise UserError(f"{name}={url[:200]}: no address of a store; write it as http://HOST:PORT or https://HOST")
    return list(named.values())


def _profile() -> dict[str, Any]:
    """The part of Amazon's chain that only boto3 knows: profiles, SSO. Empty where it has nothing."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    except (ImportError, ValueError):
        return {}


def _strict() -> bool:
    lease = os.environ.get(LEASE, "") or "strict"
    if lease not in ("strict", "weak"):
        raise UserError(f"{LEASE}={lease}: write strict (the default) or weak")
    return lease == "strict"


def _reason(text: str) -> str:
    """One line of the transport's account. Queries are cut: Azure's may be signed."""
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return "there is no such bucket"
    code, status = re.search(r"<Code>(\w+)</Code>", text), re.search(r"status code: (\d+[ \w]*)", text)
    if code or status:
        answer = " ".join(match[1].strip() for match in (status, code) if match)
        return f"the store answers {answer}; mend it or try later, what is finished is kept"
    first = redacted(re.sub(r"[?]\S+", "", text.splitlines()[0]))
    return f"out of reach ({first[:200]})"
