"""The commands `smile_train probe …`."""
