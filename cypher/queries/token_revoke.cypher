// Ends an API token for good; the first revocation is kept.
// Parameters: $id, $scope (the installation, as its keys begin), $by, $reason, $at. Returns: id. No row: there is none.
// Audit: token.revoked.
MATCH (t:ApiToken {id: $id})
WHERE t.scope = $scope
SET t.revoked_by = CASE WHEN t.revoked_at IS NULL THEN $by ELSE t.revoked_by END,
    t.revoked_because = CASE WHEN t.revoked_at IS NULL THEN $reason ELSE t.revoked_because END,
    t.revoked_at = coalesce(t.revoked_at, $at)
RETURN t.id AS id
