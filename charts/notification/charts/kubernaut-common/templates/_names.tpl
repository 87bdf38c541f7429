{{/* The service's name. It is the chart's, but that changes when an umbrella gives its dependency an alias. */}}
{{- define "kubernaut.service" -}}
{{- index (.Chart.Annotations | default dict) "kubernaut.ai/service" | default .Chart.Name -}}
{{- end -}}

{{/*
Name of the Deployment, the ServiceAccount, the Role, the PodDisruptionBudget; value of the label `app`. It is the same
for every release: a namespace has one controller of a kind.
*/}}
{{- define "kubernaut.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-controller" (include "kubernaut.service" .)) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The name without "-controller": what the names of further objects begin with. */}}
{{- define "kubernaut.base" -}}
{{- include "kubernaut.fullname" . | trimSuffix "-controller" -}}
{{- end -}}

{{- define "kubernaut.configMapName" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $component.configMapName | default (printf "%s-config" (include "kubernaut.base" .)) -}}
{{- end -}}

{{/* The Lease by which one pod acts. */}}
{{- define "kubernaut.leaseName" -}}
{{- (include "kubernaut.component" . | fromYaml).config.controller.leaderElectionId | default (printf "%s.kubernaut.ai" (include "kubernaut.service" .)) -}}
{{- end -}}

{{- define "kubernaut.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "kubernaut.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods. A Deployment's selector cannot be changed: nothing is ever added here. */}}
{{- define "kubernaut.selectorLabels" -}}
app: {{ include "kubernaut.fullname" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of the pods: without the versions of chart and program, which would roll the pods for nothing. */}}
{{- define "kubernaut.podLabels" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{ include "kubernaut.selectorLabels" . }}
app.kubernetes.io/name: {{ include "kubernaut.service" . | quote }}
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: kubernaut
{{- with $component.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kubernaut.labels" -}}
{{ include "kubernaut.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") | quote }}
{{- end -}}

{{/*
`metadata` of an object. Takes (dict "root" $ "name" "..."), "labels" and "annotations" as maps, and "cluster" true for
an object without a namespace.
*/}}
{{- define "kubernaut.metadata" -}}
name: {{ .name | quote }}
{{- if not .cluster }}
namespace: {{ .root.Release.Namespace | quote }}
{{- end }}
labels:
  {{- include "kubernaut.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A value of this chart, else that of the umbrella's `global`. Takes (list $ "nodeSelector"). */}}
{{- define "kubernaut.orGlobal" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- with index $root.Values $key | default (index ($root.Values.global | default dict) $key) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The registry of the image: own, else global; empty if neither is set. */}}
{{- define "kubernaut.imageRegistry" -}}
{{- .Values.image.registry | default ((.Values.global | default dict).image | default dict).registry | default "" | trimSuffix "/" -}}
{{- end -}}

{{/* The image: registry, repository, then digest or tag; the tag's default is the appVersion. */}}
{{- define "kubernaut.image" -}}
{{- $image := .Values.image -}}
{{- $global := (.Values.global | default dict).image | default dict -}}
{{- with include "kubernaut.imageRegistry" . }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default $global.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
