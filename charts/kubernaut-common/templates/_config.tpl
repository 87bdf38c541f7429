{{/* The config file's ConfigMap. */}}
{{- define "kubernaut.configMap" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" (include "kubernaut.configMapName" .)) | nindent 2 }}
data:
  {{ $component.configFile }}: |
    {{- toYaml $component.config | nindent 4 }}
{{- end -}}

{{/*
The content of a config file. Takes (dict "root" $ "sections" (list ...) "own" (dict ...)): the sections of the values
that go into the file as they are, what the chart decides itself, and over both of them the value `config`.
*/}}
{{- define "kubernaut.config" -}}
{{- $values := .root.Values -}}
{{- $file := dict -}}
{{- range $section := .sections -}}
{{- with index $values $section -}}
{{- $_ := set $file $section (deepCopy .) -}}
{{- end -}}
{{- end -}}
{{- $file = mergeOverwrite $file (deepCopy .own) -}}
{{- with $values.datastorage -}}
{{- if .url -}}
{{- $health := .healthUrl | default (printf "%s/readyz" (trimSuffix "/" .url)) -}}
{{- $_ := set $file "datastorage" (merge (dict "healthUrl" $health) (deepCopy (omit . "healthUrl"))) -}}
{{- end -}}
{{- end -}}
{{- with $values.config -}}
{{- $file = mergeOverwrite $file (deepCopy .) -}}
{{- end -}}
{{- toYaml $file -}}
{{- end -}}

{{/* Refuse values that would start and then do harm. */}}
{{- define "kubernaut.validate" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $replicas := int .Values.replicas -}}
{{- if and (gt $replicas 1) (not $component.config.controller.leaderElection) -}}
{{- fail (printf "cannot run replicas=%d with controller.leaderElection=false: each replica would act on every object; set controller.leaderElection=true or replicas=1" $replicas) -}}
{{- end -}}
{{- end -}}
