"""The Hub: a server of this test's own, a cache without a connection, and neither."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, MissingExtra
from vlm_tokencost.presets.huggingface import download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LLAVA = json.dumps({"model_type": "llava"}).encode()
QWEN = json.dumps(
    {
        "model_type": "qwen2_vl",
        "hidden_size": 3_584,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "num_hidden_layers": 2,
        "vision_config": {"hidden_size": 3_584},
    }
).encode()
LIMITS = json.dumps({"min_pixels": 3_136, "max_pixels": 78_400}).encode()
#: (repository, revision, file) → content; anything else of a repository is not there.
FILES = {
    ("org/llava", "main", "config.json"): LLAVA,
    ("org/Qwen", "v1.0", "config.json"): QWEN,
    ("org/Qwen", "v1.0", "preprocessor_config.json"): LIMITS,
    ("org/weights", "main", "model.safetensors"): b"0",
    ("org/broken", "main", "config.json"): b"{",
    ("org/unfinished", "main", "config.json"): LLAVA,
    ("org/unfinished", "main", "preprocessor_config.json"): b"",
    ("org/large", "main", "config.json"): b" " * (2**20 + 1),
}
#: What a process downloads: it prints the model's parts, or the error's.
PROGRAM = """
import json, sys
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets.huggingface import download
for spec in sys.argv[1:]:
    try:
        model = download(spec)
        found = {"id": model.id, "hf_id": model.hf_id, "type": model.model_type,
                 "source": model.source[0], "defaulted": model.defaulted,
                 "limit": getattr(model.token_rule, "max_pixels", None)}
    except InvalidInput as error:
        found = {"field": error.field, "error": str(error)}
    print(json.dumps(found))
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""


class _Hub(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 -- the class is the server's state

    def _answer(self, *, body: bool) -> None:
        type(self).asked.append(self.path)
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        known = {name for name, _, _ in FILES}
        if repository == "org/gated":
            self._refuse(403, "GatedRepo")
        elif repository not in known:
            self._refuse(404, "RepoNotFound")
        elif not any((repository, revision) == key[:2] for key in FILES):
            self._refuse(404, "RevisionNotFound")
        elif (repository, revision, file) not in FILES:
            self._refuse(404, "EntryNotFound")
        else:
            content = FILES[repository, revision, file]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Return the address of a server that answers as the Hub does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(home: Path, *specs: str, **environment: str) -> list[dict[str, Any]]:
    """Download in a process of its own, for huggingface_hub reads its settings once."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *specs],
        env=kept | settings | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_files_are_fetched_and_then_found_in_the_cache(endpoint: str, tmp_path: Path) -> None:
    specs = ("org/llava", "org/Qwen@v1.0")
    llava, qwen = run(tmp_path, *specs, HF_ENDPOINT=endpoint)
    assert (llava["id"], llava["hf_id"], llava["type"]) == ("llava", "org/llava", "llava")
    assert llava["source"].startswith(f"config.json: org/llava@{COMMIT}")
    assert (qwen["id"], qwen["limit"]) == ("qwen", 78_400)
    # neither weights nor code were asked for
    assert {path.rpartition("/")[2] for path in _Hub.asked} <= {
        "config.json",
        "preprocessor_config.json",
    }
    # the same without a connection
    assert run(tmp_path, *specs, HF_HUB_OFFLINE="1") == [llava, qwen]
    assert run(tmp_path, *specs, HF_ENDPOINT="http://127.0.0.1:9") == [llava, qwen]


def test_what_the_hub_refuses_is_told(endpoint: str, tmp_path: Path) -> None:
    wanted = {
        "org/none": "is not on the Hub, or is private; correct the name, or set HF_TOKEN",
        "org/gated": "is gated; ask for access on its page and set HF_TOKEN",
        "org/llava@v9": "has no such revision; give a branch, tag or commit of it",
        "org/weights": "has no config.json: not a model of transformers; choose another",
        "org/broken": "has a config.json that is not JSON",
        "org/unfinished": "has a preprocessor_config.json that is empty",
        "org/large": "has a config.json larger than 1,048,576 bytes",
    }
    for (spec, fragment), found in zip(
        wanted.items(), run(tmp_path, *wanted, HF_ENDPOINT=endpoint), strict=True
    ):
        assert fragment in found["error"], spec
        assert found["field"] == "hf"
        assert found["error"].startswith(f"hf {spec} ")


def test_a_cached_file_that_is_too_large(endpoint: str, tmp_path: Path) -> None:
    run(tmp_path, "org/llava", HF_ENDPOINT=endpoint)
    (cached,) = tmp_path.rglob("config.json")
    cached.write_bytes(b" " * (2**20 + 1))
    (found,) = run(tmp_path, "org/llava", HF_HUB_OFFLINE="1")
    assert found["field"] == "hf"
    assert found["error"].startswith("hf org/llava has a config.json that is larger than 1,048,576")


def test_without_a_connection(tmp_path: Path) -> None:
    for settings in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        (found,) = run(tmp_path, "org/llava", **settings)
        assert found["error"] == (
            "hf org/llava cannot be reached, and its config.json is not in the cache; "
            "connect, or give the file with --config"
        )


@pytest.mark.parametrize(
    "spec", ["llava", "", "a/b/c", "a/b@", "org/llava@x y", "../../etc", "/x", "a/b\n", 3, None]
)
def test_a_name_that_is_no_repository_s(spec: Any) -> None:
    with pytest.raises(InvalidInput, match="is not ORG/NAME or ORG/NAME@REVISION") as caught:
        download(spec)
    assert caught.value.field == "hf"


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vlm-tokencost\[hub\]'"):
        download("org/llava")
