"""The commands `smile_train evaluate …`."""
