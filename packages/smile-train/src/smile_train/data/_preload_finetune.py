"""Modules that workers which augment labeled clips share; see `_preload_pretrain`."""

import atexit
import gc

import timm.data.auto_augment
import timm.data.mixup
import timm.data.random_erasing  # noqa: F401

import smile_train.data.labeled_clips
import smile_train.data.loader  # noqa: F401

gc.collect()
gc.freeze()
# Else Triton's bindings take what is frozen for leaks, and say so at the end.
atexit.register(gc.unfreeze)
