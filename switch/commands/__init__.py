"""The bodies of `tongbao`'s sub-commands, imported only when their command runs."""
