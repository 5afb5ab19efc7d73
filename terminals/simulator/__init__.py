"""The other ends of the wire, in bytes only: POS terminals and a bank, with faults on request.

The order to read: `card`, `terminal` (a POS without I/O), `fleet` (many of them over TCP), then
`accounts` (a bank's decisions), `bank` (the link in front of them) and `com_file` (its clearing
file). Nothing here knows the switch or a store.
"""
