"""Studies on a device that is not the CPU say what they say on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from tests.device import far
from tests.studies import write_concept

ROOT = Path(__file__).parents[2]
#: of a clock, or of memory; and what ranks numbers of which some differ by rounding alone
MEASURED_ANEW = "time|second|memory|processor|token_cost|^p$|^corrected|^rho|^auc"


@pytest.fixture(scope="module", autouse=True)
def device():
    far.register(ROOT / "results/device")
    return far.NAME


@pytest.fixture
def gpu(device):
    """A real one, where there is one."""
    return "cuda" if torch.cuda.is_available() else device


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A concept judged by words, and one judged by held-out texts, as AxBench's are."""
    root, prompts = tmp_path_factory.mktemp("concepts"), ode.organism.prompts(12, 0)
    words = {"positive": [" the happy dog", " a kind girl"], "negative": [" the sad dog", " a mean girl"]}
    rows = [{"prompt": text, "group": f"texts {i % 6}", "positive": "the happy dog .", "negative": "the sad dog ."}
            for i, text in enumerate(prompts)]  # fmt: skip
    return {"words": write_concept(root / "words", 110, prompts, words),
            "texts": write_concept(root / "texts", 24, prompts, rows)}  # fmt: skip


def test_the_device_refuses_what_a_gpu_refuses(device):
    x = torch.randn(3, 4, device=device)
    assert (x.cpu() @ x.cpu().T).equal((x @ x.T).cpu())
    assert (x + torch.tensor(1.0))[torch.tensor([0, 1])].shape == (2, 4)  # numbers, and indices in brackets, may be
    near = torch.tensor([0, 1])
    for mixed in (
        lambda: x + torch.ones(4),
        lambda: torch.equal(x, x.cpu()),
        lambda: torch.ones(3)[x[:, 0] > 0],
        lambda: x.index_select(0, near),
        lambda: torch.nn.functional.embedding(near, x),
        lambda: x.gather(0, near[:, None]),
        lambda: x.index_add(0, near, torch.ones(2, 4)),
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    with pytest.raises(TypeError, match="device"):
        x.numpy()


@pytest.mark.parametrize("name", ["odesteer", "odesteer_kernel", "optimal_cap", "on_manifold", "iti_heads", "cast",
                                  "curveball", "re_control", "truthflow"])  # fmt: skip
def test_texts_are_those_of_the_cpu(name, gpu):
    contrast, prompts = ode.organism.contrast("valence", n=64), ode.organism.prompts(6, 0)
    texts = []
    for where in ("cpu", gpu):
        model = ode.load_model("organism", device=where)
        steerer = ode.fit(name, model, contrast, layer=2, angle=0.2)
        texts.append(steerer.generate(model, prompts, max_new_tokens=8, temperature=0.0))
    assert texts[0] == texts[1]


METHODS = ("caa", "odesteer_kernel", "pid", "iti_heads", "cast", "bipo")
AUDIT = ("analyses.method_audit", "--model", "organism", "--layer", "2", "--angle", ".1", "--kl", ".03",
         "--test", "12", "--max-new-tokens", "6", "--methods", *METHODS)  # fmt: skip
TOY = ("--model", "organism", "--contrast", "valence")
STUDIES = {
    "audit, words": (*AUDIT, "--concept", "{words}"),
    "audit, texts": (*AUDIT, "--concept", "{texts}", "--cross-fit"),
    "layers": ("analyses.layer_effectiveness", *TOY, "--pairs", "60", "--outcome", "grammar", "--layer", "1", "2",
               "--methods", "caa", "odesteer_kernel", "--kl", ".05", "--select", "6", "--test", "8", "--cross-fit",
               "--max-new-tokens", "6", "--measures", "geometry", "survival", "cost", "text"),
    "likelihood": ("analyses.trajectory_likelihood", *TOY, "--pairs", "160", "--layer", "2", "--text-angle", ".2",
                   "--max-new-tokens", "8", "--temperature", "0"),
    "certification": ("analyses.barrier_certification", *TOY, "--pairs", "80", "--layer", "2", "--temperature", "0"),
    "readers": ("analyses.evidence.readers", "--model", "organism", "--contrast", "{words}/pairs.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_what_it_says_on_the_cpu(study, folders, tmp_path):
    command = [part.format(**folders) for part in STUDIES[study]]
    for out, launcher in (("far", ["tests.device.far"]), ("near", [])):
        subprocess.run([sys.executable, "-m", *launcher, *command, "--out", str(tmp_path / out)], check=True, cwd=ROOT)
    far_files, files = ({x.relative_to(tmp_path / out): x for x in (tmp_path / out).rglob("*.parquet")}
                        for out in ("far", "near"))  # fmt: skip
    assert far_files.keys() == files.keys() != set()
    for name, file in files.items():
        found, expected = (comparable(pd.read_parquet(x)) for x in (far_files[name], file))
        pd.testing.assert_frame_equal(found, expected, rtol=1e-2, atol=1e-2, obj=str(name))


def comparable(table):
    """Without what differs between any two runs."""
    table = table[[x for x in table if not pd.Series([str(x)]).str.contains(MEASURED_ANEW).any()]]
    return table[~table["measure"].str.contains(MEASURED_ANEW)] if "measure" in table else table
