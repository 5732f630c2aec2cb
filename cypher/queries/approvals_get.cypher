// One approval.
// Parameters: $id. Returns: a (properties); no row when it is unknown.
MATCH (a:Approval {id: $id})
RETURN properties(a) AS a
