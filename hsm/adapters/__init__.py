"""Where the vault meets the machine, and the port `hsm.ports.Hsm` onto vaults: here or on a network."""
