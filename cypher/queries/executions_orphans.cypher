// Executions that nobody looks after, by this server's clock: permitted ones that wait too long or whose permit ran
// out, and begun ones whose lease ran out while nobody else holds the target.
// Those of a newer major format are left to the release that wrote them.
// Parameters: $unclaimed_ms, $limit, $cluster (whose targets; empty for any), $format (the newest that is read),
//   $skip (ids that are left out, unless their adoption was asked for within half a minute). Returns: id, what ('republish', 'expired' or 'adopt').
CALL {
  MATCH (e:RunbookExecution)
  WHERE e.status = 'permitted' AND e.requested_at IS NOT NULL
    AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/') AND coalesce(e.format, 1) <= $format
    AND (NOT e.id IN $skip OR e.adoption_asked_ms >= timestamp() - 30000)
  WITH e, timestamp() AS now
  WHERE e.permit_expires_ms <= now OR e.permitted_ms <= now - $unclaimed_ms OR e.adoption_asked_ms >= now - 30000
  RETURN e.id AS id, CASE WHEN e.permit_expires_ms <= now THEN 'expired' ELSE 'republish' END AS what, e.requested_at AS at
  ORDER BY at LIMIT $limit
  UNION
  MATCH (e:RunbookExecution)
  WHERE e.status IN ['running', 'verifying', 'rolling_back'] AND e.requested_at IS NOT NULL
    AND ($cluster = '' OR e.target_key STARTS WITH $cluster + '/') AND coalesce(e.format, 1) <= $format
    AND (NOT e.id IN $skip OR e.adoption_asked_ms >= timestamp() - 30000)
  MATCH (c:TargetClaim {key: e.claim_key})
  WHERE c.lease_until_ms IS NULL OR c.lease_until_ms <= timestamp()
  RETURN e.id AS id, 'adopt' AS what, e.requested_at AS at
  ORDER BY at LIMIT $limit
}
RETURN id, what ORDER BY at
