"""
Objects for a cluster, from the configuration: pure, plain dictionaries.

    Config -> problems (`sums`) -> Plan (`plan`) -> objects (`objects`) -> text (`stream`, `base`)

Nothing in here reads a file or a variable, and the same configuration gives the same bytes.
What a process does is decided by its own configuration; here is only how the cluster starts,
watches, scales and ends it.
"""
