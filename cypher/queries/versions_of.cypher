// What is known of the versions of some runbooks: how often each was used, and how often it helped.
// Parameters: $ids (of runbooks). Returns: id, sha, version, has_text, standing, standing_why, first_used_at,
//   last_used_at, executions, ended (begun and carried through), verified, failed.
MATCH (v:RunbookVersion) WHERE v.id IN $ids AND v.sha IS NOT NULL
CALL (v) {
  OPTIONAL MATCH (v)<-[:USED]-(e:RunbookExecution {runbook_sha: v.sha})
  WITH e, coalesce(e.status = 'done' AND e.started_at IS NOT NULL AND e.outcome <> 'aborted', false) AS over
  RETURN count(e) AS executions, max(e.requested_at) AS last_used_at, count(CASE WHEN over THEN 1 END) AS ended,
         count(CASE WHEN over AND e.verdict = 'verified' THEN 1 END) AS verified,
         count(CASE WHEN over AND (e.verdict = 'not_fixed' OR (e.verdict IS NULL AND e.outcome <> 'success'))
               THEN 1 END) AS failed
}
RETURN v.id AS id, v.sha AS sha, coalesce(v.version, '') AS version, coalesce(v.yaml, '') <> '' AS has_text,
       coalesce(v.standing, '') AS standing, coalesce(v.standing_why, '') AS standing_why,
       v.first_used_at AS first_used_at, last_used_at, executions, ended, verified, failed
ORDER BY id, coalesce(last_used_at, first_used_at) DESC, sha
