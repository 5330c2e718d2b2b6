"""The commands `smile_train data …`."""
