"""Where the vault meets the machine: sockets."""
