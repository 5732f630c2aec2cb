// What waits at this moment, for a cause or for a human, and until when.
// Parameters: none. Returns: what it waits for, since when, until when, about what.
CALL {
  MATCH (d:Decision) WHERE d.next_check_at > datetime('2000-01-01T00:00:00Z')
  RETURN 'a cause in the graph' AS waits_for, d.first_seen AS since, d.deadline AS until, d.reason AS about, d.id AS id
  UNION
  MATCH (a:Approval) WHERE a.status = 'pending' AND a.expires_at IS NOT NULL
  MATCH (e:RunbookExecution {id: a.execution_id})
  RETURN 'a human' AS waits_for, a.requested_at AS since, a.expires_at AS until, e.target_key AS about, a.id AS id
}
RETURN waits_for, since, until, about, id ORDER BY since
