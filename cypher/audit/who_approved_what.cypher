// Who was asked, who answered, and what came of it.
// Parameters: change the number of days in the first line. Returns: one row for each question, newest first.
WITH 30 AS days
MATCH (a:Approval)
WHERE a.status IN ['pending', 'approved', 'denied', 'expired', 'overtaken']
  AND a.expires_at > datetime() - duration({days: days})
OPTIONAL MATCH (e:RunbookExecution {id: a.execution_id})
RETURN a.requested_at AS asked, a.status AS status, a.answered_by AS by, a.answer_reason AS reason,
       duration.between(a.requested_at, a.answered_at) AS waited, a.reasons AS asked_because,
       e.runbook_id AS runbook, e.target_key AS target, e.outcome AS outcome, e.verdict AS verdict, a.id AS approval
ORDER BY asked DESC LIMIT 200
