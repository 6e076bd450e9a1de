"""The network of simulations: connections in memory, with latency and losses by the seed.

Read in this order: ``settings`` (what users say), ``names`` (addresses), ``wires`` (bytes on their
way), ``sockets`` (what asyncio's own transports hold), ``loop`` (how they become ready).
"""
