"""ISO 20022 messages with banks: pain.001 (payouts out), camt.053 (statements in)."""
