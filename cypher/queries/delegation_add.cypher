// Keeps answers that are handed over; written again it changes nothing.
// Parameters: $id, $scope (the installation, as its keys begin), $facts (properties). Returns: id.
// Audit: approval.delegated.
MERGE (d:ApprovalDelegation {id: $id})
ON CREATE SET d += $facts, d.scope = $scope
RETURN d.id AS id
