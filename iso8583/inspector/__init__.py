"""Why did it not parse? The files follow the data; `iso8583.inspect` is the door.

`inputs` (what was handed in) · `pcap` (of a TCP session) · `framings` (what may stand before the
MTI) · `candidates` (every framing in every dialect, ranked) · `mistakes` (what the peer did
wrong: `rules_of_frames`, `rules_of_contents`) ·
`frames` (what stands before the MTI, by its fields) · `meanings` (what values say) · `masking` (what may
be shown, `cards`) · `rendering` (for people) · `differences` (two messages beside each
other). All pure: bytes and texts in, values out; nothing here raises on any input.
"""
