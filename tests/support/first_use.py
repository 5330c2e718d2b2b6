"""Prints the path of the default bank, made on first use with as many objects as are asked for."""

import sys

import smile_motion.bank.builder.default as default

if __name__ == "__main__":
    default.OBJECTS = int(sys.argv[1])
    print(default.embedded_bank().path)
