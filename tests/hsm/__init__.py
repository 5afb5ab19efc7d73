"""The vault, against published answers, other implementations and its own rules."""
