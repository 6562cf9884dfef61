"""Shared fixtures: threads set once, a tiny real GPT-2 beside the organism, and the machine's own inputs."""

import os
from importlib.util import find_spec
from pathlib import Path

# small problems in many processes: two threads mostly wait for each other. NumPy's libraries, and the processes that
# tests start, read this when they start; the hub, which no test needs, when it is first imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# the same examples on every run; HYPOTHESIS_PROFILE=default draws new ones
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

#: what runs inside vLLM, in an environment of its own (`make test-vllm`)
collect_ignore = [] if find_spec("vllm") else ["vllm"]

#: a worker takes a file at a time, in this order and then by name: the long ones first, so that no worker ends alone
LONG = ("notebooks", "docs", "figures", "own_certification", "method_comparison", "smollm2", "own_study", "effects",
        "trajectory_likelihood", "certify", "search_layers", "soundness", "sweep_executors", "training", "steering",
        "methods_model", "certify_caps", "sweep_model", "readme", "tinystories", "positions", "suffix")  # fmt: skip

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    place = {f"test_{name}": i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture
def unchecked():
    """Shape annotations off: what a user, who does not run them, is told of bad input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real inputs that stand beside the checkout on the project's own machines."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared folder: the real inputs stand only on the project's own machines")
    return SHARED


@pytest.fixture(scope="session")
def tinystories(shared):
    from odesteer_tl import load_model

    return load_model(shared / "models" / "TinyStories-656K")


@pytest.fixture(scope="session")
def smollm2():
    """A real language model: SmolLM2-135M-Instruct, dequantised by the first session and kept."""
    from odesteer_tl import load_model
    from odesteer_tl.packaged import PACKAGED

    if any(find_spec(package.replace("-", "_")) is None for package in PACKAGED["smollm2"].parts):
        pytest.skip(f"SmolLM2 is not installed: {PACKAGED['smollm2'].command} (`make test` does)")
    return load_model("smollm2")


@pytest.fixture(scope="session")
def organism():
    from odesteer_tl import load_model

    return load_model("organism")


@pytest.fixture(scope="session")
def contrast():
    """Thirty glad texts of the organism's grammar against thirty sad ones."""
    from odesteer_tl import organism

    return organism.contrast("valence", n=30)


@pytest.fixture
def own():
    """An organism that a test may alter."""
    from odesteer_tl import load_model

    return load_model("organism")


@pytest.fixture(scope="module", params=["organism", "gpt2"])
def model(request):
    """Two architectures in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def gpt2_directory(tmp_path_factory) -> Path:
    """A GPT-2 architecture (learned positions, LayerNorm) with random weights and the organism's tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from tests.problems import on_disk

    config = GPT2Config(n_layer=3, n_head=4, n_embd=64, vocab_size=512, n_positions=128, bos_token_id=1, eos_token_id=2)
    return on_disk(lambda: GPT2LMHeadModel(config), tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def gpt2(gpt2_directory):
    from odesteer_tl import load_model

    return load_model(gpt2_directory)
