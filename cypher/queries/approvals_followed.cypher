// The consequence of an answer was carried out.
// Parameters: $id. Returns: nothing.
MATCH (a:Approval {id: $id})
REMOVE a.to_follow
