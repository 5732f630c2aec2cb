// Questions of which people may have to be told something, each with the keys of what they were told already: open
// ones, and those that an emergency bypassed lately.
// Parameters: $cluster (whose targets), $now, $since. Returns: a (properties), done (keys).
CALL () {
  MATCH (a:Approval)
  WHERE a.status = 'pending' AND a.expires_at > $now
  RETURN a
  UNION
  MATCH (a:Approval)
  WHERE a.bypassed IS NOT NULL AND a.answered_at > $since
  RETURN a
}
MATCH (e:RunbookExecution {id: a.execution_id})
WHERE e.target_key STARTS WITH $cluster + '/'
CALL (a) {
  OPTIONAL MATCH (n:ApprovalNotice {approval_id: a.id})
  WHERE n.done_at IS NOT NULL
  RETURN collect(n.key) AS done
}
RETURN properties(a) AS a, done
ORDER BY a.requested_at, a.id
