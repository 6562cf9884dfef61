"""A steered request to `vllm serve` on the loopback, as docs/serving.md shows it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from transformers import AutoTokenizer

from odesteer_tl.serving import NotSteered, http_request


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def server(reference, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", reference["model"],
        "--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--max-model-len", "256", "--max-num-seqs", "8", "--enforce-eager",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": "."})
        try:
            until = time.monotonic() + 400
            while True:
                assert running.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, log.read_text()[-3000:]
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(2)
            yield f"http://127.0.0.1:{port}/v1/completions"
        finally:
            running.terminate()
            running.wait(60)


def test_a_client_is_given_the_bridges_text_with_its_audit(server, reference, folder):
    tokenizer = AutoTokenizer.from_pretrained(reference["model"])
    how = {"max_tokens": 32, "temperature": 0.0}
    for prompt, tokens in zip(reference["prompts"]["short"], reference["tokens"]["kernel 10"], strict=False):
        request = http_request("smollm2", tokenizer, folder / "kernel-10", prompt, prepend_bos=True, audit=True, **how)
        text, steered, audit = request.text(post(server, request.body))
        assert text == tokenizer.decode(tokens, skip_special_tokens=True)
        assert steered == len(audit.position) >= len(tokens)
        assert bool((audit.h >= audit.h_before).all())
    chat = http_request("smollm2", tokenizer, folder / "kernel-10", reference["prompts"]["chats"][0], **how)
    assert chat.text(post(server, chat.body))[0] == reference["chat"][0]


def test_what_fails_in_the_server_is_an_error_of_the_client(server, reference, folder, tmp_path):
    import shutil

    tokenizer = AutoTokenizer.from_pretrained(reference["model"])
    shutil.copytree(folder / "kernel-10", tmp_path / "gone")
    request = http_request("smollm2", tokenizer, tmp_path / "gone", "The film was", prepend_bos=True, max_tokens=4)
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(NotSteered, match="failed inside the engine"):
        request.text(post(server, request.body))
    with pytest.raises(ValueError, match="say whether this text begins with a BOS"):
        http_request("smollm2", tokenizer, folder / "kernel-10", "The film was")
