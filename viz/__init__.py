"""Pictures and tables of the networks, read off the networks themselves."""
