# Environment by label or name, priority by score: helper functions, partial sets, maxima.
package signalprocessing

import rego.v1

default environment := {"environment": "Unknown", "source": "default"}

environment := {"environment": lower(label), "source": "namespace-labels"} if {
	label := input.namespace.labels["kubernaut.ai/environment"]
	label != ""
} else := {"environment": name, "source": "rego-inference"} if {
	some prefix, name in {"prod": "production", "staging": "staging", "dev": "development"}
	startswith(input.namespace.name, prefix)
}

points(word, table) := table[lower(word)]

default severity_score := 0

severity_score := points(input.signal.severity, {"critical": 3, "warning": 2, "high": 2, "info": 1})

context_scores contains points(environment.environment, {"production": 3, "staging": 2, "development": 1, "test": 1})

context_scores contains points(input.namespace.labels.tier, {"critical": 3, "high": 2})

default context_score := 0

context_score := max(context_scores)

score := severity_score + context_score

priority := {"priority": "P0", "policy_name": "score"} if {
	score >= 6
} else := {"priority": "P1", "policy_name": "score"} if {
	score == 5
} else := {"priority": "P2", "policy_name": "score"} if {
	score == 4
} else := {"priority": "P3", "policy_name": "score"} if {
	score > 0
} else := {"priority": "P3", "policy_name": "default-catch-all"}

severity := "critical" if {
	lower(input.signal.severity) in {"sev1", "p0", "p1", "critical"}
} else := "high" if {
	lower(input.signal.severity) in {"sev2", "p2", "high"}
} else := "warning"

labels := {}

cluster := concat("-", [region, tier]) if {
	region := input.cluster.labels.region
	tier := object.get(input.cluster.labels, "tier", "none")
}
