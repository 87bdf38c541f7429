{{/* The ConfigMaps: the config file, and the files that are followed, unless somebody else's ConfigMap has them. */}}
{{- define "kubernaut.configMaps" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" (include "kubernaut.configMapName" .)) | nindent 2 }}
data:
  {{ $component.configFile }}: |
    {{- toYaml $component.config | nindent 4 }}
{{- range $file := $component.followed }}
{{- if not $file.existingConfigMap }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "kubernaut.metadata" (dict "root" $ "name" $file.configMap) | nindent 2 }}
data:
  {{ $file.key | quote }}: |2
    {{- $file.content | default "" | trimSuffix "\n" | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The content of a config file. Takes (dict "root" $ "sections" (list ...) "own" (dict ...)): the sections of the values
that go into the file as they are, what the chart adds where they say nothing, and over both of them the value
`config`. The section `datastorage` goes there when either of them has its `url`. Null means left out; `controller`
is always there.
*/}}
{{- define "kubernaut.config" -}}
{{- $values := .root.Values -}}
{{- $file := dict -}}
{{- range $section := .sections -}}
{{- with index $values $section -}}
{{- $_ := set $file $section (deepCopy .) -}}
{{- end -}}
{{- end -}}
{{- $file = merge $file (deepCopy .own) -}}
{{- $given := $values.config | default dict -}}
{{- $storage := mergeOverwrite (deepCopy ($values.datastorage | default dict)) (deepCopy ($given.datastorage | default dict)) -}}
{{- $file = mergeOverwrite $file (deepCopy (omit $given "datastorage")) -}}
{{- if $storage.url -}}
{{- $health := $storage.healthUrl | default (printf "%s/readyz" (trimSuffix "/" $storage.url)) -}}
{{- $_ := set $file "datastorage" (merge (dict "healthUrl" $health) (omit $storage "healthUrl")) -}}
{{- end -}}
{{- range $section, $content := $file -}}
{{- if kindIs "invalid" $content -}}
{{- $_ := unset $file $section -}}
{{- end -}}
{{- end -}}
{{- $_ := set $file "controller" ($file.controller | default dict) -}}
{{- toYaml $file -}}
{{- end -}}

{{/* Refuse values that would start and then do harm. */}}
{{- define "kubernaut.validate" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- with $component.refused -}}
{{- fail . -}}
{{- end -}}
{{- range $label := list "app" "app.kubernetes.io/instance" -}}
{{- if hasKey ($.Values.podLabels | default dict) $label -}}
{{- fail (printf "cannot use podLabels: %s is what selects the pods; leave it out" $label) -}}
{{- end -}}
{{- end -}}
{{- $replicas := int .Values.replicas -}}
{{- if and (gt $replicas 1) (not $component.config.controller.leaderElection) -}}
{{- fail (printf "cannot run replicas=%d with controller.leaderElection=false: each replica would act on every object; set controller.leaderElection=true or replicas=1" $replicas) -}}
{{- end -}}
{{- end -}}

{{/*
Where the audit file needs a volume of its own; empty if there is none, or if it is on a volume of the component's. Takes
the component.
*/}}
{{- define "kubernaut.auditFolder" -}}
{{- with (.config.audit | default dict).file -}}
{{- if or (not (isAbs .)) (eq (dir .) "/") -}}
{{- fail (printf "cannot mount a volume for audit.file=%s: it must be a file in a folder, such as /var/log/kubernaut/audit.jsonl" .) -}}
{{- end -}}
{{- $folder := dir . -}}
{{- $taken := false -}}
{{- range $.volumeMounts -}}
{{- if eq .mountPath $folder -}}
{{- $taken = true -}}
{{- end -}}
{{- end -}}
{{- if not $taken -}}
{{ $folder }}
{{- end -}}
{{- end -}}
{{- end -}}
