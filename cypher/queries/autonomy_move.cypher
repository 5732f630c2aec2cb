// Records a move on the ladder of autonomy, with the standing that it leads to. Only the move that follows the one on
// record counts; sent again, it meets itself.
// Parameters: $id (of the move), $key, $revision (of the standing after it), $climber (properties: tenant, runbook, kind),
//   $standing (properties), $move (properties: before, after, by, reason, evidence and its numbers).
// Returns: at, fresh (whether it was recorded now). No row: somebody else moved the climber meanwhile.
// Audit: autonomy.changed.
MERGE (s:AutonomyStanding {key: $key})
SET s.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH s, coalesce(s.revision, 0) AS held
OPTIONAL MATCH (known:AutonomyMove {id: $id})
WITH s, held, known IS NULL AND held = $revision - 1 AS fresh, known
WHERE fresh OR known IS NOT NULL
FOREACH (_ IN CASE WHEN fresh THEN [1] ELSE [] END |
  SET s += $climber, s += $standing, s.revision = $revision, s.since = datetime.realtime()
  CREATE (m:AutonomyMove {id: $id})
  SET m += $climber, m += $move, m.key = $key, m.revision = $revision, m.at = s.since
  CREATE (m)-[:MOVED]->(s)
)
RETURN s.since AS at, fresh
