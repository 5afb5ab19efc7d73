"""`tongbao hsm serve`: the vault as a device of its own, behind the host commands of a network HSM."""
