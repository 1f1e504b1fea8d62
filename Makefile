# `make report` and `make test` are the two commands; each makes the environment that it needs.
# Without make: the same steps are spelled out in README.md.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
  BIN := Scripts
else
  BIN := bin
endif

.PHONY: help report test book pdf tex lint picture hashes audit repository clean
help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

report: .venv/.installed ## run the study on the sample photographs and build the book
	.venv/$(BIN)/clipnb report

test: .venv-test/.installed ## install what tests need, and run them
	.venv-test/$(BIN)/python -m pytest $(TESTS)

book: .venv/.installed ## build the book only
	.venv/$(BIN)/jb build book -W -n --keep-going

lint: .venv-test/.installed ## style, types, and the arrows between packages
	.venv-test/$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	.venv-test/$(BIN)/ruff check .
	.venv-test/$(BIN)/ruff format --check .
	.venv-test/$(BIN)/mypy
	.venv-test/$(BIN)/lint-imports

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --upgrade-deps .venv
	.venv/$(BIN)/python -m pip install -c constraints.txt -e '.[report]'
	@touch $@

.venv-test/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --upgrade-deps .venv-test
	.venv-test/$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	@touch $@

TEX_PACKAGES := latexmk texlive-xetex texlive-latex-extra texlive-fonts-extra texlive-fonts-recommended fonts-freefont-otf
pdf: export LATEXMKOPTS = -interaction=nonstopmode -halt-on-error
pdf: tex .venv/.installed ## the book as a PDF, _build/latex/clipnb.pdf (needs TeX Live, and says which packages)
	@.venv/$(BIN)/jb build book --builder pdflatex -W -n --keep-going \
	  || { echo "clipnb: the PDF was not made: the lines above say why, or _build/latex/clipnb.log does"; exit 1; }
	@echo "The PDF is made: open _build/latex/clipnb.pdf"

tex:
	@missing=; for tool in xelatex latexmk kpsewhich; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then \
	  for file in titlesec.sty bbm.sty FreeSerif.otf; do kpsewhich $$file >/dev/null || missing="$$missing $$file"; done; \
	fi; \
	[ -z "$$missing" ] || { echo "clipnb: the PDF needs$$missing (Debian: apt-get install $(TEX_PACKAGES))"; exit 1; }

clean: ## remove environments, results and the built book; photographs and the cache stay
	rm -rf .venv .venv-test _build results book/runs book/datasets book/cards book/api book/generated

picture: .venv/.installed ## draw the README's picture and write its numbers again
	.venv/$(BIN)/python -m clipnb_book.first_page

hashes: ## write hashes.txt, the packages of constraints.txt with the SHA-256 of their files (needs uv)
	uv pip compile -q constraints.txt --no-deps --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o hashes.txt

audit: ## look for known vulnerabilities in the packages of constraints.txt (needs pip-audit and the network)
	pip-audit --strict --no-deps --disable-pip -r hashes.txt

repository: .venv/.installed ## write the repository's address where it is named: make repository URL=https://github.com/me/clipnb
	.venv/$(BIN)/python -m clipnb_book.repository $(URL)
