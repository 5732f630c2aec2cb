// Takes answers back that were handed over, if they still are.
// Parameters: $id, $scope, $by (who handed them over), $at. Returns: d (properties); no row where there is nothing.
// Audit: approval.delegation_ended.
MATCH (d:ApprovalDelegation {id: $id, scope: $scope, by: $by})
SET d.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH d WHERE d.ended_at IS NULL AND d.since <= $at AND d.until > $at
SET d.ended_at = $at
RETURN properties(d) AS d
