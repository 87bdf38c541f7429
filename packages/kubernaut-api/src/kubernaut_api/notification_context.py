"""The typed context blocks of a NotificationRequest and the flat keys that they give to routing and audit.

`flatten_context` is the one place that knows which field becomes which key. The rules are uneven by contract: some
fields are never flattened, one boolean appears only when true, two appear always once their block exists.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kubernaut_api.schema import ApiModel, Rule


class LineageContext(ApiModel):
    """Objects that the notification descends from."""

    remediation_request: str = Field(default="", description="Name of the RemediationRequest.")
    ai_analysis: str = Field(default="", description="Name of the AIAnalysis.")


class WorkflowContext(ApiModel):
    """The workflow that was chosen."""

    selected_workflow: str = Field(default="", description="Workflow chosen by the analysis.")
    confidence: str = Field(default="", description="Confidence of the choice, as text.")
    workflow_id: str = Field(default="", description="ID of the executed workflow.")
    workflow_name: str = Field(default="", description="Readable name of the workflow; replaces its ID in the body.")
    action_type: str = Field(default="", description="Type of action that the workflow takes.")
    execution_engine: str = Field(default="", description="Engine that runs the workflow.")


class AnalysisContext(ApiModel):
    """What the analysis found."""

    approval_reason: str = Field(default="", description="Why an approval is needed.")
    root_cause: str = Field(default="", description="Root cause in one sentence.")
    outcome: str = Field(default="", description="Outcome of the analysis or remediation.")


class ReviewContext(ApiModel):
    """Why a human has to look."""

    reason: str = Field(default="", description="Reason of the review.")
    sub_reason: str = Field(default="", description="Finer reason of the review.")
    human_review_reason: str = Field(default="", description="Reason given by the analysis.")
    root_cause_analysis: str = Field(default="", description="Root cause analysis in full.")
    alignment_verdict: str = Field(default="", description="Verdict of the alignment check.")
    circuit_breaker_activated: bool = Field(default=False, description="Whether a circuit breaker was activated.")


class ExecutionContext(ApiModel):
    """How the execution went."""

    retry_count: str = Field(default="", description="Retries made so far.")
    max_retries: str = Field(default="", description="Retries allowed.")
    last_exit_code: str = Field(default="", description="Exit code of the last run.")
    previous_execution: str = Field(default="", description="Name of the execution before.")
    timeout_phase: str = Field(default="", description="Phase that timed out.")
    phase_timeout: str = Field(default="", description="Time that the phase was allowed.")


class DedupContext(ApiModel):
    """Duplicates of the signal."""

    duplicate_count: str = Field(default="", description="Number of duplicates.")


class TargetContext(ApiModel):
    """What is affected."""

    target_resource: str = Field(default="", description="Affected resource as Kind/Name.")


class VerificationContext(ApiModel):
    """Whether the remediation worked."""

    assessed: Annotated[bool, Rule(required=True)] = Field(
        default=False, description="Whether the effect of the remediation was assessed."
    )
    outcome: str = Field(
        default="", description="Outcome, for example passed, completed, partial, inconclusive or unavailable."
    )
    reason: str = Field(default="", description="Reason of the outcome.")
    summary: str = Field(default="", description="Summary for a human reader.")
    degraded: bool = Field(default=False, description="Whether the assessment ran with less data than usual.")
    degraded_reason: str = Field(default="", description="Why the assessment was degraded.")


class NotificationContext(ApiModel):
    """Facts behind a notification; every block is optional."""

    lineage: LineageContext | None = Field(default=None, description="Objects that the notification descends from.")
    workflow: WorkflowContext | None = Field(default=None, description="The workflow that was chosen.")
    analysis: AnalysisContext | None = Field(default=None, description="What the analysis found.")
    review: ReviewContext | None = Field(default=None, description="Why a human has to look.")
    execution: ExecutionContext | None = Field(default=None, description="How the execution went.")
    dedup: DedupContext | None = Field(default=None, description="Duplicates of the signal.")
    target: TargetContext | None = Field(default=None, description="What is affected.")
    verification: VerificationContext | None = Field(default=None, description="Whether the remediation worked.")


NEVER_FLATTENED = frozenset({"workflowName", "actionType"})
"""Fields that exist for formatting only; neither routing nor audit sees them."""


def _texts(block: ApiModel | None) -> dict[str, str]:
    if block is None:
        return {}
    fields = ((info.alias or name, getattr(block, name)) for name, info in type(block).model_fields.items())
    return {key: value for key, value in fields if isinstance(value, str) and value and key not in NEVER_FLATTENED}


def flatten_context(context: NotificationContext | None) -> dict[str, str]:
    """Return the flat keys of `context`, in the order of its blocks and their fields; empty values yield no key.

    `circuitBreakerActivated` appears only as "true". A `verification` block always yields `verificationAssessed` and
    `verificationDegraded`; its outcome and reasons get the prefix `verification`, its summary yields nothing.
    """
    if context is None:
        return {}
    flat: dict[str, str] = {}
    before: tuple[ApiModel | None, ...] = (context.lineage, context.workflow, context.analysis, context.review)
    after: tuple[ApiModel | None, ...] = (context.execution, context.dedup, context.target)
    for block in before:
        flat |= _texts(block)
    if context.review is not None and context.review.circuit_breaker_activated:
        flat["circuitBreakerActivated"] = "true"
    for block in after:
        flat |= _texts(block)
    if context.verification is not None:
        flat |= _flatten_verification(context.verification)
    return flat


def _flatten_verification(verification: VerificationContext) -> dict[str, str]:
    flat = {
        "verificationAssessed": "true" if verification.assessed else "false",
        "verificationDegraded": "true" if verification.degraded else "false",
    }
    optional = {
        "verificationOutcome": verification.outcome,
        "verificationReason": verification.reason,
        "verificationDegradedReason": verification.degraded_reason,
    }
    return flat | {key: value for key, value in optional.items() if value}
