{{/*
What helm tells after an installation: how it is set up, what would not work, and how to check it. The service's
NOTES.txt goes on with a first object to try.
*/}}
{{- define "kubernaut.notes" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $controller := $component.config.controller -}}
{{- $pods := ternary (printf "one of them acts (Lease %s)" (include "kubernaut.leaseName" .)) "without leader election" ($controller.leaderElection | default false) -}}
{{ include "kubernaut.fullname" . }} {{ .Chart.AppVersion }} works on the {{ $component.notes.worksOn }} of namespace {{ .Release.Namespace }}.

{{ include "kubernaut.note" (list "pods" (printf "%v, %s" .Values.replicas $pods)) }}
{{ include "kubernaut.note" (list "image" (include "kubernaut.image" .)) }}
{{- if not (include "kubernaut.imageRegistry" .) }}
{{ include "kubernaut.note" (list "" "must be on the nodes, for none is published: else push yours and set image.registry") }}
{{- end }}
{{- range $component.notes.lines }}
{{ include "kubernaut.note" (list .word .text) }}
{{- end }}
{{ include "kubernaut.note" (list "audit" (include "kubernaut.auditPlace" $component.config)) }}
{{- if and (or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled) .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring.namespace) (not .Values.networkPolicy.extraIngress) }}
{{ include "kubernaut.note" (list "metrics" "nobody can read them: set networkPolicy.monitoring.namespace to the namespace of Prometheus") }}
{{- end }}
{{- if not .Values.crds.install }}
{{ include "kubernaut.note" (list "CRD" "not by this release (crds.install=false)") }}
{{- else }}
{{- range $component.crds }}
{{- $crd := $.Files.Get (printf "files/crds/%s" .) | fromYaml }}
{{- $owner := include "kubernaut.crdOwner" (list $ $crd.metadata.name) }}
{{- if and $owner (not $.Values.crds.takeOver) }}
{{ include "kubernaut.note" (list "CRD" (printf "%s is in the cluster, installed %s, and is left as it is;" $crd.metadata.name $owner)) }}
{{ include "kubernaut.note" (list "" "crds.takeOver=true with --take-ownership makes it this release's") }}
{{- else }}
{{ include "kubernaut.note" (list "CRD" (printf "%s, kept when the release is uninstalled" $crd.metadata.name)) }}
{{- end }}
{{- end }}
{{- end }}

Check the config, {{ $component.notes.files }} as they are mounted:

  helm test {{ .Release.Name }} --namespace {{ .Release.Namespace }} --logs
{{- end -}}

{{- define "kubernaut.note" -}}
{{ printf "  %-12s %s" (index . 0) (index . 1) }}
{{- end -}}

{{/* Where audit events go, in words. Takes the content of the config file. */}}
{{- define "kubernaut.auditPlace" -}}
{{- if .datastorage -}}
{{ .datastorage.url }}
{{- else -}}
{{ with (.audit | default dict).file }}{{ . }} in the pod{{ else }}the pod's log{{ end }}, one JSON object a line
{{- end -}}
{{- end -}}
