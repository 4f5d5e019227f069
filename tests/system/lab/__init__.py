"""A tiny internet on the loopback: real daemons, scripted receivers, names from a zone file."""
