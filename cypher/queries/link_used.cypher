// Whether a signed link was used.
// Parameters: $id. Returns: used.
RETURN EXISTS { MATCH (l:ApprovalLink {id: $id}) WHERE l.use IS NOT NULL } AS used
