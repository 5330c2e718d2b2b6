"""The command line: `app` finds and runs a command, each command has a module of its own."""
