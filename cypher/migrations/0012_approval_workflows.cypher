// Answers that were handed over, notices that were sent about questions, and signed links that were used.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_approval_delegation_id IF NOT EXISTS FOR (n:ApprovalDelegation) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT rootmend_approval_notice_key IF NOT EXISTS FOR (n:ApprovalNotice) REQUIRE n.key IS UNIQUE;
CREATE CONSTRAINT rootmend_approval_link_id IF NOT EXISTS FOR (n:ApprovalLink) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_approval_delegation_until IF NOT EXISTS FOR (n:ApprovalDelegation) ON (n.scope, n.until);
CREATE INDEX rootmend_approval_notice_approval IF NOT EXISTS FOR (n:ApprovalNotice) ON (n.approval_id);
CREATE INDEX rootmend_approval_bypassed IF NOT EXISTS FOR (n:Approval) ON (n.bypassed, n.answered_at);
