// Who holds an execution now.
// Parameters: $id. Returns: status, outcome, holder, epoch. No row: unknown id.
MATCH (e:RunbookExecution {id: $id})
RETURN e.status AS status, e.outcome AS outcome, e.holder AS holder, e.epoch AS epoch
