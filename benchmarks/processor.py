"""What the processor can do, and what of it the libraries were told to use."""

import os

import llvmlite.binding
from numba.core import config

FEATURES = {"avx2": "avx2", "avx512": "avx512f", "bf16": "avx512bf16"}
"""What decides over speed, by the compiler's names. Compiled loops use the first two, products of
matrices in bf16 the third."""


def describe_processor() -> str:
    """Name the processor and its features, and whether compiled loops may use them.

    `NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,+bmi,+bmi2` plays a processor without
    AVX-512; the name alone leaves it on.
    """
    has = llvmlite.binding.get_host_cpu_features()
    there = [name for name, feature in FEATURES.items() if has.get(feature)]
    lacking = [f"no {name}" for name, feature in FEATURES.items() if not has.get(feature)]
    text = f"{llvmlite.binding.get_host_cpu_name()}, {os.cpu_count()} cores: "
    text += ", ".join([*there, *lacking])
    if config.CPU_NAME or config.CPU_FEATURES:
        text += f"; loops compiled for {config.CPU_NAME or 'this one'} {config.CPU_FEATURES or ''}"
        if config.CPU_FEATURES is None:
            text += "with all features of this processor"
    return text
