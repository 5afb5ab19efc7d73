"""Host commands of a payShield-like network HSM: bytes in, bytes out, without a socket.

A message meets the files in this order: `framing` cuts it out of the stream, `dispatch` finds the
command's row, `commands/` reads its fields (`fields`) and keys (`vault`), calls a primitive of `hsm/`
and returns the answer's data; `codes` says what two digits mean.
"""
