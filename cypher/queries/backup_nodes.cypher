// Nodes of one label of ours. The loader puts the label in the place of LABEL; see ``cypher.loader.labelled``.
// Parameters: none. Returns: p (properties).
MATCH (n:LABEL)
RETURN properties(n) AS p
