"""What workers share: imported once, by the process that they are forked from.

Saves each worker 100 MB and two seconds. Half of that memory is saved by keeping what is imported
here out of the garbage collector, which would write to every object and so copy its page.
"""

import gc

import smile_motion.backgrounds
import smile_motion.bank  # noqa: F401
from smile_motion.masking.masks import warm_up

import smile_train.data.loader  # noqa: F401

# Numba loads most of itself with the first compiled function that is called.
warm_up()
gc.collect()
gc.freeze()
