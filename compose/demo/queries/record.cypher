// What the pipeline has on record about one tenant: decisions, executions, steps, approvals.
// Parameters: $tenant, $since. Returns: decision (properties), executions [{..., steps, approvals}].
MATCH (d:Decision)
WHERE d.last_seen > $since AND d.tenant = $tenant
CALL (d) {
  OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
  CALL (e) {
    OPTIONAL MATCH (e)-[:STEP]->(s:StepRun)
    WITH s ORDER BY s.started_at
    RETURN collect(s {.id, .phase, .index, .step_id, .name, .status, .error, .started_at, .finished_at}) AS steps
  }
  CALL (e) {
    OPTIONAL MATCH (a:Approval {execution_id: e.id})
    RETURN collect(a {.id, .status, .answered_by, .requested_at, .answered_at}) AS approvals
  }
  WITH e, steps, approvals ORDER BY e.requested_at
  RETURN collect(e {.id, .status, .outcome, .verdict, .error, .runbook_id, .requested_at, .started_at, .verify_from,
                    .finished_at, .resumed, steps: steps, approvals: approvals}) AS executions
}
RETURN d {.id, .kind, .check, .message, .numbers, .incident_id, .event_id, .reason, .target_key, .cause_reason,
          .confidence, .runbook_id, .repeat_count, .signal, .first_seen, .decided_at} AS decision,
       executions
ORDER BY d.first_seen
