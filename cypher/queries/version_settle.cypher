// Notes how the trial of a version ended. What was noted first stands.
// Parameters: $id (of the runbook), $sha, $standing (promoted or demoted), $why. Returns: standing (as it stands).
MATCH (v:RunbookVersion {id: $id, sha: $sha})
SET v.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH v
FOREACH (_ IN CASE WHEN v.standing IS NULL THEN [1] ELSE [] END |
  SET v.standing = $standing, v.standing_why = $why, v.standing_at = datetime.realtime()
)
RETURN v.standing AS standing
