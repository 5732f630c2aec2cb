// The consequence of an answer was carried out.
// Parameters: $id. Returns: nothing.
// Audit: nothing; the answer is told, this ticks it off.
MATCH (a:Approval {id: $id})
REMOVE a.to_follow
