// Answered approvals whose consequence was not carried out yet, oldest answer first.
// Parameters: $limit, $cluster (whose targets; empty for any), $format (the newest that is read). Returns: a (properties).
MATCH (a:Approval)
WHERE a.to_follow = true AND a.expires_at IS NOT NULL AND coalesce(a.format, 1) <= $format
  AND ($cluster = '' OR NOT EXISTS {
    MATCH (e:RunbookExecution {id: a.execution_id})
    WHERE NOT e.target_key STARTS WITH $cluster + '/'
  })
RETURN properties(a) AS a
ORDER BY a.answered_at LIMIT $limit
