"""Local stand-ins for Kaggle and Google Drive that speak the protocols kagglehub and gdown really use.

An HTTPS proxy on loopback: HTTPS_PROXY leads the libraries to it, and it answers for the hosts themselves, with
certificates of an authority that REQUESTS_CA_BUNDLE names. So the libraries run unchanged, addresses and all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from conftest import Answering, serving

JSON = {"Content-Type": "application/json"}
HOSTS = ("api.kaggle.com", "storage.googleapis.com", "drive.google.com", "drive.usercontent.google.com")


@dataclass
class Web:
    """What the stand-ins serve, and what they were asked.

    Attributes:
        archive: the bytes that both give.
        kaggle_key: what Kaggle accepts.
        break_after: bytes after which the first download breaks off, if any.
        version: of the data set on Kaggle.
        deaf: Kaggle's storage gives the whole file, whatever part is asked for.
        quota: Drive says that the file was asked for too often.
        asked: method, host, path and Range of each request.
    """

    archive: bytes = b""
    kaggle_key: tuple[str, str] = ("me", "secret")
    break_after: int | None = None
    version: int = 1
    deaf: bool = False
    quota: bool = False
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)


class _Answers(Answering):
    protocol_version = "HTTP/1.1"
    web: Web
    authority: trustme.CA
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        if self.host not in HOSTS:
            self.send_error(502, f"no {self.host} here")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(self.host).configure_cert(context)
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def do_POST(self) -> None:
        self.note()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        expected = "Basic " + base64.b64encode(":".join(self.web.kaggle_key).encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.answer(b'{"code": 403, "message": "Permission denied"}', 403, **JSON)
        elif (body.get("ownerSlug"), body.get("datasetSlug")) != ("djjerrish", "nba-player-image-dataset-201920"):
            self.answer(b'{"code": 404, "message": "Not found"}', 404, **JSON)
        elif self.path == "/v1/datasets.DatasetApiService/GetDataset":
            self.answer(json.dumps({"currentVersionNumber": self.web.version, "ref": "nba"}).encode(), **JSON)
        elif self.path == "/v1/datasets.DatasetApiService/DownloadDataset":
            self.answer(b"", 302, Location="https://storage.googleapis.com/kaggle-data-sets/archive.zip?X-Goog-Signature=x")
        else:
            self.answer(b"{}", 404, **JSON)

    def do_GET(self) -> None:
        self.note()
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if self.host == "storage.googleapis.com":
            md5 = base64.b64encode(hashlib.md5(self.web.archive).digest()).decode()
            self.give_file({"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}"})
        elif self.host == "drive.google.com" and address.path == "/uc" and query.get("id") == ["1CyIQOJienhNITwGcQ9h-nv8z6GOjV2HX"]:
            page = '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
            if not self.web.quota:  # a file that is too large to be scanned for viruses is confirmed first
                fields = {"id": query["id"][0], "export": "download", "confirm": "t", "uuid": "0-1"}
                inputs = "".join(f'<input type="hidden" name="{k}" value="{v}">' for k, v in fields.items())
                page = f'<form id="download-form" action="https://{HOSTS[-1]}/download" method="get">{inputs}</form>'
            self.answer(page.encode(), **{"Content-Type": "text/html; charset=utf-8"})
        elif self.host == "drive.usercontent.google.com" and query.get("confirm") == ["t"]:
            self.give_file({"Content-Disposition": 'attachment; filename="data.tar.gz"', "ETag": '"one"'})
        else:
            self.answer(b"not found", 404, **{"Content-Type": "text/html"})

    def note(self) -> None:
        self.web.asked.append((self.command, self.host, urlsplit(self.path).path, self.headers.get("Range", "")))

    def give_file(self, headers: dict[str, str]) -> None:
        asked = "" if self.web.deaf else self.headers.get("Range", "")
        start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", asked)) else 0
        body, total = self.web.archive[start:], len(self.web.archive)
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        broken, self.web.break_after = self.web.break_after, None
        self.answer(body[:broken], 206 if start else 200, **headers)
        if broken is not None:
            self.close_connection = True
            self.connection.close()


@contextmanager
def standing_in(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Lead everything that asks for a web page to the stand-ins; a home without credentials; no waiting for retries."""
    web, authority = Web(), trustme.CA()
    handler = type("Answers", (_Answers,), {"web": web, "authority": authority})
    with serving(handler) as address:
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.setenv(name, address)
        patch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("KAGGLE_CONFIG_DIR", str(folder / "home" / ".kaggle"))
        patch.setenv("KAGGLEHUB_CACHE", str(folder / "kagglehub"))
        yield web
