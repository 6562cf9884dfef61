"""The engine that all tests share, and what the bridge has written for them to compare with."""

import json
import os
from pathlib import Path

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING",
}  # fmt: skip

import pytest

FOLDER = Path(os.environ.get("ODESTEER_REFERENCE", "results/vllm"))


@pytest.fixture(scope="session")
def folder() -> Path:
    assert (FOLDER / "reference.json").exists(), "make test-vllm writes it, in the project's own environment"
    return FOLDER


@pytest.fixture(scope="session")
def reference(folder) -> dict:
    return json.loads((folder / "reference.json").read_text())


@pytest.fixture(scope="session")
def llm(reference):
    from vllm import LLM

    # so few tokens a pass that prompts are cut, and so few blocks that many long texts do not fit
    return LLM(
        reference["model"], dtype="float32", max_model_len=512, max_num_seqs=16, max_num_batched_tokens=48,
        enforce_eager=True, num_gpu_blocks_override=24,
    )  # fmt: skip
