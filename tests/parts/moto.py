"""A real moto server (AWS's API, IAM's rules too) with users that may only read, and only write."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import httpx

from tests.parts.process import Process, free_port

REGION = "eu-west-1"
_MAY_READ = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
_MAY_WRITE = {
    "Effect": "Allow",
    "Action": [
        f"secretsmanager:{operation}"
        for operation in (
            *("DescribeSecret", "CreateSecret", "TagResource", "PutSecretValue"),
            *("RestoreSecret", "DeleteSecret"),
        )
    ],
    "Resource": "*",
}


class MotoServer:
    """One server; `admin` is a client that may do all, `reader`, `writer` the keys of two users."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hookline-moto-"))
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: Process | None = None
        self.admin: Any = None
        self.reader: dict[str, str] = {}
        self.writer: dict[str, str] = {}

    def __enter__(self) -> MotoServer:
        port = self.url.rpartition(":")[2]
        self._process = Process(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
            self._folder / "moto.log",
        )
        self._process.wait_until(self._ready, "moto")
        iam = self._client("iam", "root", "root")
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        admin = _new_user(iam, "admin", everything)
        self.reader = _new_user(iam, "hookline", _MAY_READ)
        self.writer = _new_user(iam, "hookline-writer", _MAY_WRITE)
        # From here on moto checks signatures and policies.
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        self.admin = self._client("secretsmanager", *admin.values())
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _client(self, service: str, key: str, secret: str) -> Any:
        return boto3.session.Session().client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/moto-api/data.json", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def _new_user(iam: Any, name: str, statement: dict[str, Any]) -> dict[str, str]:
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
