// How long the latest executions of a runbook took that were carried through, and each of their steps.
// Parameters: $runbook_id, $tenant, $since, $limit (most executions).
// Returns: seconds (of each execution, newest first), steps [{step_id, seconds}] (one for each step that ended).
CALL {
  MATCH (e:RunbookExecution)
  WHERE e.requested_at >= $since AND e.runbook_id = $runbook_id AND e.status = 'done' AND e.tenant = $tenant
    AND e.started_at IS NOT NULL AND e.finished_at IS NOT NULL AND e.outcome <> 'aborted'
  RETURN e ORDER BY e.requested_at DESC LIMIT $limit
}
CALL (e) {
  OPTIONAL MATCH (e)-[:STEP]->(s:StepRun {phase: 'step'})
  WHERE s.finished_at IS NOT NULL AND s.item IS NULL
  RETURN [one IN collect(s) | {
    step_id: one.step_id,
    seconds: duration.inSeconds(one.started_at, one.finished_at).milliseconds / 1000.0
  }] AS steps
}
RETURN collect(duration.inSeconds(e.started_at, e.finished_at).milliseconds / 1000.0) AS seconds,
       reduce(all = [], some IN collect(steps) | all + some) AS steps
