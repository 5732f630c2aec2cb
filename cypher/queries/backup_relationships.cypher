// What nodes of one label of ours are tied to. The loader puts the label in the place of LABEL.
// Parameters: none. Returns: type, p (properties), a (properties of the node), labels and b (of the other one).
MATCH (n:LABEL)-[r]->(m)
RETURN type(r) AS type, properties(r) AS p, n {.id, .key, .sha, .segment, .seq} AS a, labels(m) AS labels,
       m {.id, .key, .sha, .segment, .seq, .eid, .rid} AS b
