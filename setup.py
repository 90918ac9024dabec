"""Compiled kernels of the CPU engine; everything else about the package is in pyproject.toml.

Each source is compiled once per instruction set; tilegen/native/library.py loads the best that the processor has.
They are optional: without a C++ compiler the package installs all the same, and renders more slowly.
"""

import platform

from setuptools import Extension, setup

INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in {"x86_64", "AMD64"}:
    INSTRUCTION_SETS |= {
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    }

SOURCES = {
    # Bits, not only values: products and sums are rounded one by one, as torch rounds them.
    "fields": ["-ffp-contract=off"],
    # On request, as the default differs between compilers.
    "layers": ["-ffp-contract=fast"],
}

setup(
    ext_modules=[
        Extension(
            f"tilegen.native._{source}_{name}",
            [f"tilegen/native/{source}.cpp"],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-Wno-psabi", *source_flags, *flags],
            optional=True,
        )
        for source, source_flags in SOURCES.items()
        for name, flags in INSTRUCTION_SETS.items()
    ]
)
