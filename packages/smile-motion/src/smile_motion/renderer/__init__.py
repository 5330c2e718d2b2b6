"""From a motion plan to pixels, on the CPU and on a device: the same bits."""
