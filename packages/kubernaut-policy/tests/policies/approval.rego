# Shall a person approve? A whole package is asked, with nulls, numbers and built-ins that must not fail over null.
package aianalysis.approval

import rego.v1

default require_approval := false

require_approval if count(reasons) > 0

reasons[90] := "the target of the remediation is missing" if not input.remediation_target.kind

reasons[80] := sprintf("%s is a sensitive kind", [input.target_resource.kind]) if {
	input.target_resource.kind in {"Node", "StatefulSet"}
}

reasons[75] := sprintf("%d warnings", [count(input.warnings)]) if count(input.warnings) > 0

reasons[70] := sprintf("production below %v", [threshold]) if {
	lower(input.environment) == "production"
	input.confidence < threshold
}

default threshold := 0.8

threshold := input.confidence_threshold

scores := {score | reasons[score]}

reason := reasons[max(scores)] if require_approval

reason := "Auto-approved" if not require_approval

stateful if input.detected_labels.stateful

actor if input.identity

groups := {group | some group in input.identity.groups}

teams := [team | some team in input.custom_labels.team]
