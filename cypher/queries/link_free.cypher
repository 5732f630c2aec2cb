// Makes a signed link good again whose answer did not count.
// Parameters: $id, $use. Returns: nothing.
// Audit: nothing; nothing was answered.
MATCH (l:ApprovalLink {id: $id, use: $use})
REMOVE l.use, l.used_at
