"""The commands `smile-motion bank …`."""
