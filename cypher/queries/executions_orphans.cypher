// Executions that nobody looks after, by this server's clock: permitted ones that wait too long or whose permit ran
// out, and begun ones whose lease ran out while nobody else holds the target.
// Parameters: $unclaimed_ms, $limit, $cluster (whose targets; empty for any). Returns: id, what ('republish', 'expired' or 'adopt').
CALL {
  MATCH (e:RunbookExecution)
  WHERE e.status = 'permitted' AND e.requested_at IS NOT NULL
    AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/')
  WITH e, timestamp() AS now
  WHERE e.permit_expires_ms <= now OR e.permitted_ms <= now - $unclaimed_ms
  RETURN e.id AS id, CASE WHEN e.permit_expires_ms <= now THEN 'expired' ELSE 'republish' END AS what, e.requested_at AS at
  ORDER BY at LIMIT $limit
  UNION
  MATCH (e:RunbookExecution)
  WHERE e.status IN ['running', 'verifying', 'rolling_back'] AND e.requested_at IS NOT NULL
    AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/')
  MATCH (c:TargetClaim {key: e.claim_key})
  WHERE c.lease_until_ms IS NULL OR c.lease_until_ms <= timestamp()
  RETURN e.id AS id, 'adopt' AS what, e.requested_at AS at
  ORDER BY at LIMIT $limit
}
RETURN id, what ORDER BY at
