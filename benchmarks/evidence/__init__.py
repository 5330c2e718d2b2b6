"""Do the paper's orderings hold at small scale? Movements, arms, runs and their tables."""
