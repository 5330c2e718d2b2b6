"""The commands of `smile_train`, a module each."""
