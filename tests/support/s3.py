"""A real S3 server in a process of its own, and a proxy before it that does what networks and busy stores do."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from factory.job import JobSpec
from factory.store.mark import MARK_NAME

SECRET = "s3cr3t-that-nobody-may-read"
BUCKET = "bucket"


def environment(url: str) -> dict[str, str]:
    """What tells a program of the server."""
    return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


@contextmanager
def server() -> Iterator[str]:
    """Its URL, with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        client(url).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        process.kill()
        process.wait()


@cache  # making one takes a good part of a second
def client(url: str):
    import boto3

    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=url, **keys)


def objects(url: str, prefix: str) -> dict[str, bytes]:
    """Every object below the prefix, by its name there."""
    s3 = client(url)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
    names = [item["Key"] for item in listed]
    return {name[len(prefix) + 1 :]: s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}


def unfinished(url: str) -> list:
    """Uploads in pieces that somebody began and did not end."""
    return client(url).list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


class Proxy(ThreadingHTTPServer):
    """Passes requests on, but for the next `faults`: "500", "slow" (503 SlowDown), "lost" (done, but never answered),
    "late" (never answered, and done once it was repeated). It stops PUT number `hold` half-way (`held`) and drops it.
    A PUT to a path that ends in `freeze` reaches it whole (`held`) and is passed on when `thawed`. `unconditional`:
    PUTs on condition are answered with "501", or done as if there were no condition ("ignored"). `puts` and `lists`
    count."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = urlsplit(url).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults: list[str] = []
        self.hold: int | None = None
        self.freeze, self.thawed = "", threading.Event()
        self.unconditional = ""
        self.held, self.busy = threading.Event(), threading.Lock()
        self.late: dict[str, tuple[bytes, dict[str, str]]] = {}  # path -> body and headers
        self.puts = self.lists = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None: ...  # clients that were killed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = ""
        with self.server.busy:
            self.server.lists += "list-type" in self.path
            if self.command == "PUT":
                mine, self.server.puts = self.server.puts, self.server.puts + 1
                if mine == self.server.hold:
                    fault = "hold"
                elif self.server.faults:
                    fault = self.server.faults.pop(0)
        if fault == "hold":
            self.rfile.read(length // 2)
            self.server.held.set()
            self.close_connection = True
            self.connection.settimeout(60)
            self.rfile.read()  # until the client is dead
            return
        body = self.rfile.read(length)
        if self.server.freeze and self.command == "PUT" and self.path.endswith(self.server.freeze):
            self.server.freeze = ""
            self.server.held.set()
            self.server.thawed.wait()
        if self.command == "PUT" and self.server.unconditional:
            conditions = [name for name in self.headers if name.lower() in ("if-match", "if-none-match")]
            if conditions and self.server.unconditional == "501":
                return self._answer(501, {}, b"<Error><Code>NotImplemented</Code></Error>")
            for name in conditions:
                del self.headers[name]
        if fault in ("500", "slow"):
            code, name = (500, "InternalError") if fault == "500" else (503, "SlowDown")
            return self._answer(code, {}, f"<Error><Code>{name}</Code></Error>".encode())
        if fault == "late":
            self.server.late[self.path] = body, dict(self.headers)
            self.close_connection = True
            return
        answer = self._forward(body, dict(self.headers))
        if self.command == "PUT" and self.path in self.server.late:
            self._forward(*self.server.late.pop(self.path))
        if fault == "lost":
            self.close_connection = True
            return
        self._answer(*answer)

    def _forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.to)
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), data

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


def stored(url: str, job: JobSpec) -> dict[str, bytes]:
    found = objects(url, job.output.removeprefix(f"s3://{BUCKET}/"))
    return {name: data for name, data in found.items() if name not in (MARK_NAME, "job.json")}
