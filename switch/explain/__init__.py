"""One transaction's whole life, out of what was stored: facts -> story -> text, JSON, a page. Pure."""
