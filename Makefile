PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Shared libraries that open3d and OpenCV load from the system, and the Debian package of each.
LIBRARIES := libGL.so.1:libgl1 libEGL.so.1:libegl1 libgomp.so.1:libgomp1 libX11.so.6:libx11-6 libusb-1.0.so.0:libusb-1.0-0

.PHONY: env demo test bench soak docs

env: $(STAMP)

demo: env
	$(BIN)/python -m training.demo

test: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: env
	$(BIN)/python -m training.benchmark

# The live node under random faults: about an hour. FRAMES=300 is a short one of a few minutes, and
# OPTIONS=--resume goes on with one that was cut off.
FRAMES := 10000
OPTIONS :=
soak: env
	$(BIN)/python -m training.soak --frames $(FRAMES) --json docs/results/soak.json $(OPTIONS)

# The documentation as a site in out/site. It builds without a network and is read without one.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(STAMP): setup.py setup.cfg pyproject.toml
	@missing=""; \
	for pair in $(LIBRARIES); do \
		/sbin/ldconfig -p | grep -qF "$${pair%%:*}" || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; \
		else \
			echo "Missing system libraries. As root: apt-get install$$missing"; exit 1; \
		fi; \
	fi
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2> /dev/null || $(BIN)/pip install torch==2.13.0
	$(BIN)/pip install -e ".[ros,can,train,test,docs]"
	touch $@
