# AVIX: `make help` lists the targets, docs/makefile.md says more. Works with GNU make 3.81 (macOS).
#
#   make dgch                            environment, data set, training, test and summary in one go
#   make dgch ARGS="seed=7"              ARGS goes to every training, data and test command
#   make test PYTHON=/path/to/python     uses that interpreter as it is, and no .venv

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV     ?= .venv
ARGS     ?=
PIP_ARGS ?=# e.g. an index with a CPU or CUDA build of torch
RUN_ENV  ?=# environment of training and benchmarks, e.g. RUN_ENV="OMP_NUM_THREADS=1"

ifeq ($(origin PYTHON),undefined)
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.installed
else
READY  :=
endif

RUN := $(RUN_ENV) $(PYTHON)

include make/environment.mk
include make/general.mk
include make/data.mk
include make/training.mk
include make/avix.mk
include make/sweeps.mk
include make/cifar.mk
include make/diagrams.mk

# Every documented target is a command, not a file. ($(HASH): how # is quoted differs between versions.)
HASH := \#
.PHONY: lint $(shell sed -n 's/^\([a-z0-9_ -]*\):.*$(HASH)$(HASH).*/\1/p' $(MAKEFILE_LIST))
