# The default classification of signals: environment, severity, priority, custom labels, cluster.
#
# Every rule has a value for every input, so no signal fails for what its namespace does not say.
# Input: namespace{name, labels?, annotations?}, workload{kind, name, labels?, annotations?},
# signal{severity, type, source, labels?}, cluster{labels?}. Maps are absent when they are empty.
package signalprocessing

import rego.v1

# --- Environment: the namespace's label kubernaut.ai/environment, else its label env.

environments := {
	"production": "Production",
	"staging": "Staging",
	"development": "Development",
	"test": "Test",
}

default environment := {"environment": "Unknown", "source": "default"}

environment := {"environment": found, "source": "namespace-labels"} if {
	found := environments[lower(input.namespace.labels["kubernaut.ai/environment"])]
} else := {"environment": found, "source": "namespace-labels"} if {
	found := environments[lower(input.namespace.labels.env)]
}

# --- Severity: what monitoring systems write, in the five words of the status.

severities := {
	"critical": "critical",
	"sev1": "critical",
	"p0": "critical",
	"high": "high",
	"sev2": "high",
	"p2": "high",
	"warning": "warning",
	"medium": "warning",
	"sev3": "warning",
	"info": "info",
	"low": "info",
	"sev4": "info",
}

default severity := "unknown"

severity := severities[lower(input.signal.severity)]

# --- Priority: from environment and severity.

default priority := {"priority": "P3", "policy_name": "default"}

priority := {"priority": "P0", "policy_name": "production-critical"} if {
	environment.environment == "Production"
	severity == "critical"
}

priority := {"priority": "P1", "policy_name": "production-high"} if {
	environment.environment == "Production"
	severity == "high"
}

priority := {"priority": "P1", "policy_name": "staging-critical"} if {
	environment.environment == "Staging"
	severity == "critical"
}

priority := {"priority": "P2", "policy_name": "staging-any"} if {
	environment.environment == "Staging"
	severity != "critical"
}

# --- Custom labels: who owns it and where it runs, from the namespace's labels kubernaut.ai/<name>.

labels[name] := [value] if {
	some name in ["team", "tier", "cost-center", "region"]
	value := input.namespace.labels[concat("/", ["kubernaut.ai", name])]
	value != ""
}

# --- Cluster: its label environment; undefined for a cluster that has none.

cluster := input.cluster.labels.environment if input.cluster.labels.environment != ""
