"""The ladder of autonomy at work: evidence and rungs from the graph, moves back into it."""
