// Notes how the trial of a version ended. What was noted first stands.
// Parameters: $id (of the runbook), $sha, $standing (promoted or demoted), $why. Returns: standing (as it stands),
//   fresh (whether it was noted now).
// Audit: runbook.settled.
MATCH (v:RunbookVersion {id: $id, sha: $sha})
SET v.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH v, v.standing IS NULL AS fresh
FOREACH (_ IN CASE WHEN fresh THEN [1] ELSE [] END |
  SET v.standing = $standing, v.standing_why = $why, v.standing_at = datetime.realtime()
)
RETURN v.standing AS standing, fresh
