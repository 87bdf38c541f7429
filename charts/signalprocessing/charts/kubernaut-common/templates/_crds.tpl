{{/*
The CRDs of files/crds, kept when the release goes: with a CRD go all its objects.

A cluster has one CRD for everybody. One that exists and is not this release's (another chart's, another release's,
applied by hand) is left alone: Helm would refuse the whole release for it. `crds.takeOver` renders it all the same,
for `helm upgrade --install --take-ownership`.
*/}}
{{- define "kubernaut.crds" -}}
{{- if .Values.crds.install -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- range $file := $component.crds }}
{{- $crd := $.Files.Get (printf "files/crds/%s" $file) | required (printf "cannot render CRD: chart %s has no files/crds/%s" $.Chart.Name $file) | fromYaml }}
{{- if or $.Values.crds.takeOver (eq (include "kubernaut.crdOwner" (list $ $crd.metadata.name)) "") }}
{{- $annotations := merge (dict "helm.sh/resource-policy" "keep") ($crd.metadata.annotations | default dict) }}
---
{{ toYaml (merge (dict "metadata" (dict "name" $crd.metadata.name "annotations" $annotations "labels" (include "kubernaut.crdLabels" $ | fromYaml))) $crd) }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "kubernaut.crdLabels" -}}
app.kubernetes.io/part-of: kubernaut
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{/* Who else owns a CRD of the cluster, in words; empty if it is this release's or is not there. Takes (list $ name). */}}
{{- define "kubernaut.crdOwner" -}}
{{- $root := index . 0 -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (index . 1) -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $name := index $annotations "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" -}}
{{- if not $name -}}
not by a Helm release
{{- else if not (and (eq $name $root.Release.Name) (eq $namespace $root.Release.Namespace)) -}}
by release {{ $name }} in namespace {{ $namespace }}
{{- end -}}
{{- end -}}
{{- end -}}
