"""Let atheris find inputs for a target: `python -m tests.fuzz TARGET [OPTIONS OF LIBFUZZER] [FOLDER]`.

Inputs that reach new code go into FOLDER; the one that breaks a promise goes into the working folder, and belongs into
`corpus/TARGET` as soon as the code is right.
"""

from __future__ import annotations

import sys
import time

import atheris  # type: ignore[import-untyped]  # it has no stubs

with atheris.instrument_imports(include=["evothesis", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS

INPUT_SECONDS_MAX = 5  # of CPU, with every branch counted: no input may take longer, however it was bred


def run(name: str, options: list[str]) -> None:
    """Breed inputs until one breaks a promise, or as the options say."""

    def one(data: bytes) -> None:
        began = time.process_time()
        TARGETS[name](data)
        seconds = time.process_time() - began
        assert seconds < INPUT_SECONDS_MAX, f"{len(data)} bytes took {seconds:.1f} s"

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
