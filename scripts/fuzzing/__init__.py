"""Random networks, put through every room of viztool beside oracles of their own.

networks: the grammar. blocks: its words. twin: the same network out of place, and with other rules. checks: one
function for each thing that is compared; a new one is found by being registered.
"""
